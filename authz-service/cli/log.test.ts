import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { readSigners } from '../log/keys.ts';
import { recordParts } from '../record.ts';
import { formatVerifierKey, generateSignerKey, parseSignerKey, parseVerifierKey } from '../tlog/note.ts';
import { run } from './run.ts';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'cli-log-'));
  configure('');
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(dir, { recursive: true, force: true });
});

const at = (...path: string[]): string => join(dir, ...path);
const configure = (tap: string): void =>
  writeFileSync(
    at('sluice.yaml'),
    `version: 1\nstate_dir: .\nlisteners: [{ name: http, address: 127.0.0.1:8080 }]\nissuers: [{ name: corp, issuer: https://login.example.com, audiences: [sluice] }]
targets: [{ name: t, listener: http, url: http://127.0.0.1:1 }]\npolicy: { path: policies }\n${tap}`,
  );

const sluice = async (...args: string[]): Promise<{ code: number; out: string; err: string }> => {
  const caught = { stdout: '', stderr: '' };
  const spies = (['stdout', 'stderr'] as const).map((stream) =>
    vi.spyOn(process[stream], 'write').mockImplementation((chunk) => {
      caught[stream] += chunk;
      return true;
    }),
  );
  try {
    return { code: await run(['log', ...args]), out: caught.stdout, err: caught.stderr };
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
};
const key = (...args: string[]) => sluice('key', ...args, '--config', at('sluice.yaml'));
const publicKeys = (path: string): string[] => readSigners(path).map(({ verifier }) => formatVerifierKey(verifier));

it('makes a key, prints its public one alone, and never writes over a file', async () => {
  const { code, out, err } = await key('generate', at('new'), '--name', 'gateway.example/sluice');
  expect([code, out.trim()]).toEqual([0, publicKeys(at('new'))[0]]);
  expect(parseVerifierKey(out.trim()).name).toBe('gateway.example/sluice');
  expect(err).not.toContain('PRIVATE');
  const before = readFileSync(at('new'), 'utf8');
  expect(await key('generate', at('new'), '--name', 'gateway.example/sluice')).toMatchObject({ code: 1, out: '' });
  expect(readFileSync(at('new'), 'utf8')).toBe(before);
});

it.each([
  [['generate'], 2, 'say: sluice log'],
  [['generate', 'x'], 2, 'say what the log is called'],
  [['generate', '/no/such/folder/x', '--name', 'a'], 1, 'ENOENT'],
  [['generate', 'x', '--name', 'two words'], 1, 'is no name of a key'],
  [['show', 'x'], 2, 'say: sluice log'],
  [['lose'], 2, 'say: sluice log'],
  [['show'], 1, 'There is no log yet'],
  [['rotate'], 1, "the log's key is not there"],
])('says what is wrong with %j', async (args, code, told) => {
  expect(await key(...args)).toEqual({ code, out: '', err: expect.stringContaining(told) });
  expect(existsSync('x')).toBe(false);
});

describe('of a log that is there', () => {
  const old = generateSignerKey('gateway.example/sluice');
  const shown = formatVerifierKey(parseSignerKey(old).verifier);

  beforeEach(() => {
    mkdirSync(at('tap', 'log'), { recursive: true });
    writeFileSync(at('tap', 'key'), old, { mode: 0o600 });
    writeFileSync(at('tap', 'log', 'keys'), `0 ${shown}\n`);
  });

  it('shows which keys sign, changes them, and says what comes next', async () => {
    expect((await key('show')).out).toBe(`# has signed from leaf 0 on\n${shown}\n`);
    const { code, out, err } = await key('rotate');
    expect([code, out.trim()]).toEqual([0, publicKeys(at('tap', 'key'))[1]]);
    expect(err).toMatch(/Restart the service[\s\S]*witnesses[\s\S]*remove the old line/);
    expect((await key('show')).out).toBe(`# has signed from leaf 0 on\n${shown}\n# signs from the next start of the service on\n${out}`);

    writeFileSync(at('tap', 'key'), readFileSync(at('tap', 'key'), 'utf8').replace(`${old}\n`, ''), { mode: 0o600 });
    expect((await key('show')).out).toContain('from leaf 0 on; its private key is not there any more');
  });

  it('shows the published keys also where the private ones are not', async () => {
    rmSync(at('tap', 'key'));
    expect(await key('show')).toMatchObject({ code: 0, out: `# has signed from leaf 0 on\n${shown}\n` });
  });

  it('changes no key that others may read', async () => {
    chmodSync(at('tap', 'key'), 0o644);
    expect(await key('rotate')).toMatchObject({ code: 1, out: '', err: expect.stringContaining('chmod 600') });
    expect(readFileSync(at('tap', 'key'), 'utf8')).toBe(old);
  });

  it('takes the file of tap.key, in which the service reads several lines too', async () => {
    writeFileSync(at('signer'), generateSignerKey('gateway.example/sluice'), { mode: 0o600 });
    configure(`tap: { key: { file: signer } }\n`);
    expect((await key('rotate')).code).toBe(0);
    expect(readFileSync(at('tap', 'key'), 'utf8')).toBe(old);
    const { keys, index } = recordParts({ stateDir: dir, tap: { key: { file: at('signer') }, retention: { kinds: {} } } as never });
    index.close();
    expect(keys.map(formatVerifierKey)).toEqual(publicKeys(at('signer')));
    expect(keys).toHaveLength(2);
  });

  it('tells what to do where the key is in the environment', async () => {
    configure(`tap: { key: { env: THE_LOGS_KEY } }\n`);
    vi.stubEnv('THE_LOGS_KEY', `${old}\n${generateSignerKey('gateway.example/sluice')}`);
    expect(await key('rotate')).toMatchObject({ code: 1, out: '', err: expect.stringContaining('THE_LOGS_KEY') });
    expect((await key('show')).out.split('\n').filter((line) => line.startsWith('gateway.example'))).toHaveLength(2);
    const { keys, index } = recordParts({ stateDir: dir, tap: { key: { env: 'THE_LOGS_KEY' }, retention: { kinds: {} } } as never });
    index.close();
    expect(keys).toHaveLength(2);
  });
});
