import {
  appendFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { lockFile } from '../journal/file_system.ts';
import { type Detail, decodeDetails, encodeDetails } from '../log/details.ts';
import { LegalHolds } from '../log/legal_holds.ts';
import { formatPruned } from '../log/pruned.ts';
import { recordParts } from '../record.ts';
import { localFiles } from '../storage/local_files.ts';
import { decodeEvent } from '../tap/event.ts';
import { openSink, type Sink } from '../tap/sink.ts';
import { formatVerifierKey, generateSignerKey, parseSignerKey } from '../tlog/note.ts';
import { decodeBundle, encodeBundle, tileOfEntries } from '../tlog/tile.ts';
import { verifyLog } from '../verify/log.ts';
import { run } from './run.ts';

let dir: string;
const at = (...path: string[]): string => join(dir, ...path);

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'cli-restore-'));
  writeFileSync(
    at('sluice.yaml'),
    `version: 1\nstate_dir: state\nlisteners: [{ name: http, address: 127.0.0.1:8080 }]\nissuers: [{ name: corp, issuer: https://login.example.com, audiences: [sluice] }]
targets: [{ name: t, listener: http, url: http://127.0.0.1:1 }]\npolicy: { path: policies }\ntap: { replicas: [{ type: directory, name: vault, path: copy }] }\n`,
  );
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const restore = async (...args: string[]): Promise<{ code: number; out: string; err: string }> => {
  const caught = { stdout: '', stderr: '' };
  const spies = (['stdout', 'stderr'] as const).map((stream) =>
    vi.spyOn(process[stream], 'write').mockImplementation((chunk) => {
      caught[stream] += chunk;
      return true;
    }),
  );
  try {
    return { code: await run(['log', 'restore', ...args, '--config', at('sluice.yaml')]), out: caught.stdout, err: caught.stderr };
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
};

/** One more copy of the event with which the copy ends, up to the end of its bundle. */
const repeatLast = async (): Promise<void> => {
  const copy = localFiles(at('copy'));
  const of = async (key: string): Promise<Buffer> => (await copy.get(key)) as Buffer;
  const entries = decodeBundle(await of('tile/entries/001.p/50'), 50);
  const details = decodeDetails(await of('details/events/001.p/50'), 1);
  for (let index = 256 + 50; index < 512; index += 1) {
    entries.push(entries[49] as Buffer);
    details.push({ ...(details[49] as (typeof details)[number]), index });
  }
  await copy.put('tile/entries/001', encodeBundle(entries));
  await copy.put('tile/0/001', tileOfEntries(entries));
  await copy.put('details/events/001', encodeDetails(details));
};

const opened = (): Promise<Sink> => openSink({ ...recordParts({ stateDir: at('state'), tap: { retention: { kinds: {} } } as never }) });
const tell = (sink: Sink, session: string, notice: string, text: string): Promise<void> =>
  sink.append([{ session, target: 't', body: { kind: 'notice', notice, text } }]);

/** A record of 300 events, a copy of it, and nothing left of it here but its key. */
const lost = async (more: (sink: Sink) => Promise<void> = async () => {}): Promise<void> => {
  const sink = await opened();
  for (const session of ['ses_1', 'ses_2', 'ses_3']) await tell(sink, session, 'legal-hold-added', `case (7) of ${session} (corp:dana)`);
  await tell(sink, 'ses_2', 'legal-hold-released', 'closed (corp:dana)');
  await tell(sink, 'ses_1', 'legal-hold-added', 'again (corp:lee)');
  for (let n = 0; n < 300; n += 1) await tell(sink, n % 2 ? 'ses_4' : '', 'something', `number ${n}`);
  await more(sink);
  await sink.close();
  cpSync(at('state/tap/log'), at('copy'), { recursive: true });
  const key = readFileSync(at('state/tap/key'));
  rmSync(at('state'), { recursive: true });
  mkdirSync(at('state/tap'), { recursive: true });
  writeFileSync(at('state/tap/key'), key, { mode: 0o600 });
};

it('makes the record anew from the only replica, with its sessions and legal holds, and the service goes on with it', async () => {
  await lost();
  const { code, out, err } = await restore('--checkpoint', at('copy/checkpoint'));
  expect([code, err]).toEqual([0, '']);
  expect(out).toMatch(
    /VERIFIED[\s\S]*remembered[\s\S]*Restored from file:.*copy: 306 leaves\.\nLegal holds that the record tells of: 2\.\n/,
  );
  expect(existsSync(at('state/tap/restoring'))).toBe(false);

  const holds = await LegalHolds.open(at('state/legal-holds'), { record: async () => {} });
  expect(holds.list()).toEqual([
    { session: 'ses_1', by: 'corp:dana', reason: 'case (7) of ses_1', at: expect.stringMatching(/^20/) },
    { session: 'ses_3', by: 'corp:dana', reason: 'case (7) of ses_3', at: expect.stringMatching(/^20/) },
  ]);
  await holds.close();
  const sink = await opened();
  await tell(sink, 'ses_4', 'something', 'afterwards');
  expect((await sink.events('ses_4'))?.map(({ event }) => (event?.body as { text: string } | undefined)?.text)).toEqual([
    ...Array.from({ length: 150 }, (_, n) => `number ${2 * n + 1}`),
    'afterwards',
  ]);
  await sink.close();
});

it('says what is wrong, and leaves nothing', async () => {
  await lost();
  expect(await restore('elsewhere')).toMatchObject({ code: 2, err: expect.stringContaining('has vault') });
  const bytes = readFileSync(at('copy/tile/entries/000'));
  const sound = Buffer.from(bytes);
  bytes[80] = (bytes[80] as number) ^ 1;
  writeFileSync(at('copy/tile/entries/000'), bytes);
  expect((await restore('vault')).code).toBe(1);
  expect([existsSync(at('state/tap/log')), existsSync(at('state/tap/journal')), existsSync(at('state/tap/restoring'))]).toEqual([
    false,
    false,
    false,
  ]);
  writeFileSync(at('copy/tile/entries/000'), sound);
  // A checkpoint that was kept and is of a longer log.
  const sink = await openSink({
    ...recordParts({ stateDir: at('longer'), tap: { retention: { kinds: {} }, key: { file: at('state/tap/key') } } as never }),
  });
  for (let n = 0; n < 310; n += 1) await tell(sink, '', 'something', `other ${n}`);
  await sink.close();
  const kept = await restore('vault', '--checkpoint', at('longer/tap/log/checkpoint'));
  expect(kept).toMatchObject({ code: 1, out: expect.stringMatching(/NOT VERIFIED/), err: expect.stringContaining('nothing is restored') });
  expect(existsSync(at('state/tap/log'))).toBe(false);
  expect((await restore('vault')).code).toBe(0);
  expect(await restore('vault')).toMatchObject({ code: 1, err: expect.stringMatching(/There is a record already[\s\S]*mv /) });
  rmSync(at('state'), { recursive: true });
  expect(await restore('vault')).toMatchObject({ code: 1, err: expect.stringContaining('the key of the log that is there is not') });
});

it('takes no word of a copy that leaves were pruned which no leaf of it tells of, before anything is signed', async () => {
  await lost();
  const copy = localFiles(at('copy'));
  const [detail] = decodeDetails((await copy.get('details/events/001.p/50')) as Buffer, 1);
  const { index: leaf, salt, event } = detail as Detail;
  const forged = {
    'of another event': formatPruned({ minimum: 256, leaf, salt, event }),
    'of a leaf that is not there': formatPruned({ minimum: 256, leaf: 9_999, salt, event }),
    'that is none': Buffer.from('256\n'),
  };
  for (const [what, bytes] of Object.entries(forged)) {
    await copy.put('pruned', bytes);
    for (const entries of [true, false]) {
      const kept = (await copy.get('tile/entries/000')) as Buffer;
      if (!entries) await copy.delete('tile/entries/000');
      const { code, out, err } = await restore();
      expect([what, code, out, err]).toEqual([what, 1, expect.not.stringContaining('Restored'), expect.stringMatching(/pruned/)]);
      for (const made of ['log', 'journal', 'restoring']) expect(existsSync(at('state/tap', made))).toBe(false);
      await copy.put('tile/entries/000', kept);
    }
  }
  await copy.delete('pruned');
  expect((await restore()).code).toBe(0);
});

it("names keys that the copy lists beside the log's own", async () => {
  await lost();
  const [, own = ''] = readFileSync(at('copy/keys'), 'utf8').trim().split(' ');
  const planted = formatVerifierKey(parseSignerKey(generateSignerKey(own.split('+')[0] as string)).verifier);
  appendFileSync(at('copy/keys'), `0 ${planted}\n`);
  const { code, out } = await restore();
  expect(code).toBe(0);
  expect(out).toContain(`has 1 more, which do not sign now; nothing proves that they were the log's`);
  expect(out).toContain(`\n  0 ${planted}\n`);
  expect(readFileSync(at('state/tap/log/keys'), 'utf8')).toBe(`0 ${own}\n`);
  expect(out).not.toContain(own);
});

it('shows nothing of a file that lies in the place of the list of keys, and is not kept by one without end', async () => {
  await lost();
  const own = readFileSync(at('copy/keys'), 'utf8');
  writeFileSync(at('secrets'), `root:$6$salt$hash:20000:0:99999:7:::\n1 word of a diary\n${own}`);
  rmSync(at('copy/keys'));
  symlinkSync(at('secrets'), at('copy/keys'));
  const { code, out, err } = await restore('vault');
  expect([code, err]).toEqual([0, '']);
  expect(out).not.toMatch(/salt|diary|list of keys/);
  rmSync(at('state/tap/journal'), { recursive: true });
  rmSync(at('state/tap/log'), { recursive: true });
  rmSync(at('copy/keys'));
  writeFileSync(at('copy/keys'), own + 'x y\n'.repeat(5_000_000));
  const before = performance.now();
  expect((await restore('vault')).code).toBe(0);
  expect(performance.now() - before).toBeLessThan(10_000);
  expect(readFileSync(at('state/tap/log/keys'), 'utf8')).toBe(own);
});

it('does nothing while a service has the record, though that was moved away', async () => {
  await lost();
  const unlock = lockFile(at('state/tap/sessions.sqlite-lock'));
  expect(await restore('vault')).toMatchObject({ code: 1, err: expect.stringContaining('stop it first') });
  expect(existsSync(at('state/tap/journal'))).toBe(false);
  unlock?.();
  expect((await restore('vault')).code).toBe(0);
});

it('needs no folder of the record where the key is kept elsewhere', async () => {
  await lost();
  renameSync(at('state/tap/key'), at('key'));
  rmSync(at('state'), { recursive: true });
  writeFileSync(at('sluice.yaml'), readFileSync(at('sluice.yaml'), 'utf8').replace('tap: {', 'tap: { key: { file: key },'));
  expect(await restore('vault')).toMatchObject({ code: 0, err: '' });
});

it('writes over nothing that is left of a log which has lost its checkpoint and its journal', async () => {
  await lost();
  cpSync(at('copy/details'), at('state/tap/log/details'), { recursive: true });
  expect(await restore('vault')).toMatchObject({ code: 1, err: expect.stringMatching(/There is a record already[\s\S]*mv /) });
  expect(existsSync(at('state/tap/log/details/events/000'))).toBe(true);
  renameSync(at('state/tap/log'), at('state/tap.old'));
  mkdirSync(at('state/tap/log'));
  cpSync(at('copy/keys'), at('state/tap/log/keys'));
  expect((await restore('vault')).code).toBe(0);
});

it('keeps the keys that the log had before, which a notice of the service names, and no other', async () => {
  const line = (origin: string): string => `0 ${formatVerifierKey(parseSignerKey(generateSignerKey(origin)).verifier)}`;
  const lines: string[] = [];
  await lost(async (sink) => {
    const [, own = ''] = readFileSync(at('state/tap/log/keys'), 'utf8').trim().split(' ');
    for (let n = 0; n < 3; n += 1) lines.push(line(own.split('+')[0] as string));
    await tell(sink, '', 'keys-listed', lines.slice(0, 1).join(', '));
    // Of a session nobody has said so.
    await tell(sink, 'ses_1', 'keys-listed', lines.slice(1, 2).join(', '));
  });
  const own = readFileSync(at('copy/keys'), 'utf8');
  appendFileSync(at('copy/keys'), `${lines.join('\n')}\n`);
  const { code, out } = await restore();
  expect([code, out]).toEqual([0, expect.stringContaining('has 2 more, which do not sign now')]);
  expect(readFileSync(at('state/tap/log/keys'), 'utf8')).toBe(`${own}${lines[0]}\n`);
});

it('takes nothing from behind the checkpoint that does not go on from it: an old event, written there again', async () => {
  await lost();
  await repeatLast();
  const refused = await restore();
  expect(refused).toMatchObject({ code: 1, err: expect.stringMatching(/signs 306 leaves, .* go on to 512\. .*--sign-beyond 512/) });
  expect(refused.out).not.toContain('Restored');
  expect(existsSync(at('state/tap/log'))).toBe(false);
  const { code, out, err } = await restore('--sign-beyond', '512');
  expect([code, err]).toEqual([1, expect.stringContaining('does not verify: nothing is restored')]);
  expect(out).toMatch(/VERIFIED[\s\S]*FAULT +chain[\s\S]*FAULT +sequence/);
  expect(existsSync(at('state/tap/log'))).toBe(false);
});

it('goes on with what fits behind the checkpoint when the size is said, and the record tells of it', async () => {
  await lost();
  // The gateway went on from its copy, and was lost when its next bundle had arrived there and the checkpoint had not.
  const checkpoint = readFileSync(at('copy/checkpoint'));
  expect((await restore()).code).toBe(0);
  const sink = await opened();
  for (let n = 0; n < 250; n += 1) await tell(sink, 'ses_5', 'something', `later ${n}`);
  await sink.close();
  for (const key of ['tile/entries/001', 'tile/0/001', 'details/events/001']) cpSync(at('state/tap/log', key), at('copy', key));
  expect(readFileSync(at('copy/checkpoint'))).toEqual(checkpoint);
  const key = readFileSync(at('state/tap/key'));
  rmSync(at('state'), { recursive: true });
  mkdirSync(at('state/tap'), { recursive: true });
  writeFileSync(at('state/tap/key'), key, { mode: 0o600 });

  expect((await restore()).err).toContain('and others behind it go on to 512.');
  const { code, out, err } = await restore('--sign-beyond', '512', '--checkpoint', at('copy/checkpoint'));
  expect([code, err]).toEqual([0, '']);
  expect(out).toContain('512 leaves, 206 of them behind its checkpoint.');
  expect(out).toContain('The notice "unsigned-restored" in leaf 512 says so.');
  const restored = await opened();
  const { value: told } = await restored.read(512).next();
  expect(told?.bytes && decodeEvent(told.bytes).body).toEqual({
    kind: 'notice',
    notice: 'unsigned-restored',
    text: expect.stringMatching(/^leaves 306 to 511 were restored from a copy behind its checkpoint of 306 \(root .*\): no checkpoint/),
  });
  await restored.close();
  expect(
    await verifyLog({ objects: localFiles(at('state/tap/log')), trust: { keys: [parseSignerKey(key.toString().trim()).verifier] } }),
  ).toMatchObject({ verified: true });
});

it.each([
  ['a folder', 'copy', /--checkpoint .*copy cannot be read: it is a folder: name the file in it/],
  ['nothing', 'none', /--checkpoint .*none cannot be read: ENOENT/],
])('says of a kept checkpoint that is %s that it is', async (_, name, message) => {
  await lost();
  expect(await restore('--checkpoint', at(name))).toMatchObject({ code: 1, err: expect.stringMatching(message) });
  expect((await restore('--sign-beyond', '5x')).code).toBe(2);
  expect(existsSync(at('state/tap/log'))).toBe(false);
});
