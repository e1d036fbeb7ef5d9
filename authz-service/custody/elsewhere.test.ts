import { once } from 'node:events';
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { LogError } from '../log/error.ts';
import { ORIGIN, SIGNER, subject, testLog } from '../log/log.fixture.ts';
import type { Log } from '../log/log.ts';
import { Replicator } from '../log/replicator.ts';
import { caller } from '../storage/call.ts';
import { localFiles } from '../storage/local_files.ts';
import { Bucket } from '../storage/s3.fixture.ts';
import { openCheckpoint } from '../tlog/checkpoint.ts';
import { formatVerifierKey, generateSignerKey, parseSignerKey, signNote } from '../tlog/note.ts';
import { Witness } from '../witness/client.ts';
import { MemoryLog, StrictWitness } from '../witness/witness.fixture.ts';
import { httpPlace, objectPlace } from './checkpoint_copies.ts';
import { Elsewhere, type ElsewhereOptions } from './elsewhere.ts';
import { s3Config } from './stores.fixture.ts';
import { authorizationOf, type HttpPlaceConfig, openStore, type StoreConfig } from './stores.ts';

let directory: string;
let bucket: Bucket;
let witness: StrictWitness;
let logged: [string, object][];
let receiver: Receiver;

/** A plain HTTP place: gives back what was posted last, or what `answer` does. */
class Receiver {
  newest: string | undefined;
  asked: IncomingHttpHeaders[] = [];
  answer: ((response: ServerResponse) => void) | undefined;
  readonly #server = createServer((request, response) => void this.#serve(request, response)).listen(0, '127.0.0.1');

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/newest`;
  }

  async open(): Promise<this> {
    if (!this.#server.listening) await once(this.#server, 'listening');
    return this;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (request.method === 'POST') {
      this.newest = await text(request);
      response.writeHead(204).end();
      return;
    }
    this.asked.push(request.headers);
    if (this.answer !== undefined) this.answer(response);
    else if (this.newest === undefined) response.writeHead(404).end();
    else response.writeHead(200, { 'content-type': 'text/plain' }).end(this.newest);
  }
}

beforeEach(async () => {
  receiver = await new Receiver().open();
  directory = mkdtempSync(join(tmpdir(), 'sluice-elsewhere-'));
  bucket = await Bucket.open();
  witness = await new StrictWitness(new MemoryLog(ORIGIN, SIGNER)).open();
  logged = [];
});

afterEach(async () => {
  await receiver.close();
  await bucket.close();
  await witness.close();
  rmSync(directory, { recursive: true, force: true });
});

const state = (): string => join(directory, 'state');
const ENV = { S3_SECRET: 'key', WEB_TOKEN: 'secret-of-the-place' };
const s3 = (): StoreConfig => s3Config(bucket.endpoint);
const folder = (name: string): StoreConfig => ({ type: 'directory', name, path: join(directory, name) });

const web = (): HttpPlaceConfig => ({
  type: 'http',
  name: 'web',
  url: receiver.url,
  read: receiver.url,
  token: { env: 'WEB_TOKEN' },
  tls: undefined,
  timeoutMs: 1_000,
});

type Tap = ElsewhereOptions['tap'];
const tap = (some: Partial<Tap>): Tap => ({
  replicas: [],
  witnesses: { quorum: 0, intervalMs: 1_000, of: [] },
  checkpoints: { everyMs: 1_000, to: [] },
  requireElsewhere: false,
  ...some,
});
/** Each of those that may know of a log: alone. */
const KNOWING: readonly [string, () => Partial<Tap>][] = [
  ['a replica in a directory', () => ({ replicas: [folder('copy')] })],
  ['a replica in a bucket', () => ({ replicas: [s3()] })],
  ['a place of checkpoints', () => ({ checkpoints: { everyMs: 1_000, to: [folder('mount')] } })],
  ['a place of checkpoints over HTTP', () => ({ checkpoints: { everyMs: 1_000, to: [web()] } })],
  [
    'a witness',
    () => ({
      witnesses: {
        quorum: 0,
        intervalMs: 1_000,
        of: [{ name: 'w1', url: witness.url.href, keys: [formatVerifierKey(witness.key.verifier)] }],
      },
    }),
  ],
];

const elsewhere = (some: Partial<Tap>, more: Partial<ElsewhereOptions> = {}): Elsewhere =>
  new Elsewhere({
    tap: tap(some),
    signers: [SIGNER],
    acceptLoss: undefined,
    acceptedPath: join(directory, 'accepted-losses'),
    logger: { info: (fields, message) => logged.push([message, fields]), error: (fields, message) => logged.push([message, fields]) },
    env: ENV,
    timeoutMs: 2_000,
    ...more,
  });

const opened = (asked?: Elsewhere, options = {}): Promise<Log> =>
  testLog({ directory: state(), ...(asked && { confirm: (log) => asked.confirm(log) }), ...options });

/** Writes events until there are `size`, publishes them, and tells everybody. */
const grow = async (size: number, word = 'event'): Promise<void> => {
  const log = await opened();
  for (let n = log.size; n < size; n += 1) log.stage(subject(n + 1), Buffer.from(`${word} ${n}`));
  await log.settled();
  await log.publish();
  await log.close();
};

const tellEverybody = async (): Promise<void> => {
  const from = localFiles(join(state(), 'log'));
  const note = (await from.get('checkpoint')) as Buffer;
  const checkpoint = openCheckpoint(note, ORIGIN, [SIGNER.verifier]);
  for (const config of [folder('copy'), s3()]) {
    const to = openStore(config, ENV);
    await new Replicator({ from, to, open: (bytes) => openCheckpoint(bytes, ORIGIN, [SIGNER.verifier]) }).round();
    await to.close();
  }
  await objectPlace('mount', localFiles(join(directory, 'mount')), () => undefined).send(note.toString(), checkpoint.size);
  const call = caller({ attempts: 1, timeoutMs: 1_000 });
  await httpPlace('web', new URL(receiver.url), call, authorizationOf(web(), ENV)).send(note.toString(), checkpoint.size);
  const log = await opened();
  const shown = new Witness({ name: 'w1', url: witness.url, keys: [witness.key.verifier] }, call, (old, size) =>
    log.reader.proveConsistency(old, size),
  );
  await shown.cosign(note.toString(), checkpoint);
  call.close();
  await log.close();
};

const filesOf = (path: string): string[] =>
  readdirSync(path, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && !entry.name.includes('lock'))
    .map((entry) => join(entry.parentPath, entry.name))
    .sort()
    .map((file) => `${file} ${readFileSync(file).toString('base64')}`);

/** The state as it was at `size` leaves, with all that is known of it elsewhere up to `known`. */
const rolledBack = async (size: number, known: number): Promise<void> => {
  if (size > 0) await grow(size);
  if (size > 0) cpSync(state(), join(directory, 'old'), { recursive: true });
  await grow(known);
  await tellEverybody();
  rmSync(state(), { recursive: true });
  if (size > 0) cpSync(join(directory, 'old'), state(), { recursive: true });
};

describe('a log that is opened', () => {
  it('goes on when it is what everybody knows of it, and more', async () => {
    await grow(300);
    await tellEverybody();
    await grow(700);
    const places = { everyMs: 1_000, to: [folder('mount'), web()] };
    const all = Object.assign({}, ...KNOWING.map(([, of]) => of()), { replicas: [folder('copy'), s3()], checkpoints: places });
    await (await opened(elsewhere({ ...all, requireElsewhere: true }))).close();
    expect(logged).toEqual(
      Array(5).fill(['the log is what is known of it elsewhere', { who: expect.any(String), size: expect.any(Number) }]),
    );
    expect(logged.map(([, fields]) => (fields as { size: number }).size)).toEqual([300, 300, 300, 300, 700]);
    expect(witness.latest.size).toBe(700);
  });

  for (const [who, of] of KNOWING) {
    it(`is refused, and left as it is, when ${who} knows more of it`, async () => {
      await rolledBack(290, 520);
      await (await opened()).close();
      const before = filesOf(state());
      const error = await opened(elsewhere(of())).catch((reason: unknown) => reason);
      expect(error).toMatchObject({
        code: 'rolled_back',
        message: expect.stringMatching(/has 290 leaves[\s\S]* 520 leaves[\s\S]*--accept-loss 520/),
      });
      expect(filesOf(state())).toEqual(before);
      // And of one that is not there at all.
      rmSync(state(), { recursive: true });
      await expect(opened(elsewhere(of()))).rejects.toMatchObject({ code: 'rolled_back' });
    });

    it(`is refused when ${who} knows another one`, async () => {
      await rolledBack(290, 520);
      await grow(600, 'rewritten');
      const code = await opened(elsewhere(of())).catch(({ code }: { code: string }) => code);
      expect(code).toBe('forked');
    });

    it(`goes on without what ${who} knows when that is given up, once and for all, and nothing else`, async () => {
      await rolledBack(290, 520);
      const given = elsewhere(of(), { acceptLoss: 520 });
      await (await opened(given)).close();
      expect(given.losses).toEqual([expect.stringMatching(/ knows 520 leaves.* this log of 290 .*--accept-loss 520/)]);
      await grow(400, 'gone on');
      const again = elsewhere(of());
      await (await opened(again)).close();
      expect([again.losses, logged.at(-1)?.[0]]).toEqual([[], 'what is known of the log there was given up before, and is not in it']);
      // Less than what is lost is not enough.
      rmSync(join(directory, 'accepted-losses'));
      await expect(opened(elsewhere(of(), { acceptLoss: 519 }))).rejects.toMatchObject({
        message: expect.stringContaining('--accept-loss 520'),
      });
    });
  }

  it('is refused whoever else writes down that a loss was given up; and what was given up outlasts a change of keys', async () => {
    await rolledBack(290, 520);
    const some = { replicas: [folder('copy')] };
    const path = join(directory, 'accepted-losses');
    await (await opened(elsewhere(some, { acceptLoss: 520 }))).close();
    const [line = ''] = readFileSync(path, 'utf8').split('\n');
    const [text = ''] = JSON.parse(line).split('\n\n');
    const [next, other] = [parseSignerKey(generateSignerKey(ORIGIN)), parseSignerKey(generateSignerKey(ORIGIN))];
    const both = { signers: [SIGNER, next] };
    const lost = JSON.parse(text.split('\n')[2] ?? '') as { who: string; size: number; root: string };
    /** What the log's own key has signed of something else. */
    const signed = (of: object, origin = ORIGIN): string =>
      JSON.stringify(signNote(`${origin}\naccepted loss\n${JSON.stringify({ ...lost, ...of })}\n`, [SIGNER]));
    expect(signed({})).toBe(line);
    for (const forged of [
      signed({ size: 519 }),
      signed({ size: 521 }),
      signed({ root: Buffer.alloc(32).toString('base64') }),
      signed({ who: 'the replica vault' }),
      signed({}, 'other.example/log'),
      text.split('\n')[2],
      JSON.stringify(text),
      JSON.stringify(signNote(`${text}\n`, [other])),
      line.replace('520', '521'),
    ]) {
      writeFileSync(path, `${forged}\n`);
      await expect(opened(elsewhere(some))).rejects.toMatchObject({ code: 'rolled_back' });
    }
    writeFileSync(path, `${line}\n`);
    const during = elsewhere(some, both);
    await (await opened(during, both)).close();
    await (await opened(during, both)).close();
    expect(readFileSync(path, 'utf8').split('\n').length).toBe(3);
    const asked = { published: { size: 290 }, origin: ORIGIN, listedKeys: async () => `0 ${formatVerifierKey(SIGNER.verifier)}\n` };
    const goesOnFrom = async (): Promise<void> => {
      throw new LogError('rolled_back', 'it has less');
    };
    await elsewhere(some, { signers: [next] }).confirm({ ...asked, goesOnFrom } as never);
    await expect(elsewhere(some, { signers: [other] }).confirm({ ...asked, goesOnFrom } as never)).rejects.toMatchObject({
      code: 'rolled_back',
    });
  });

  it('is held against what is kept in a replica too, should its pointer have been set back', async () => {
    await grow(290);
    await tellEverybody();
    const pointer = (await localFiles(join(directory, 'copy')).get('checkpoint')) as Buffer;
    cpSync(state(), join(directory, 'old'), { recursive: true });
    await grow(520);
    await tellEverybody();
    rmSync(state(), { recursive: true });
    cpSync(join(directory, 'old'), state(), { recursive: true });
    await localFiles(join(directory, 'copy')).put('checkpoint', pointer);
    await expect(opened(elsewhere({ replicas: [folder('copy')] }))).rejects.toMatchObject({ code: 'rolled_back' });
  });

  it('is held against what a locked bucket keeps, also where the pointer was set back and markers were put above the rest', async () => {
    const vault = s3Config(bucket.endpoint, { writeOnce: 'compliance' });
    const replicate = async (): Promise<void> => {
      const to = openStore(vault, ENV);
      const open = (bytes: Buffer) => openCheckpoint(bytes, ORIGIN, [SIGNER.verifier]);
      const retainUntil = () => new Date(Date.now() + 3_600_000);
      await new Replicator({ from: localFiles(join(state(), 'log')), to, open, retainUntil }).round();
      await to.close();
    };
    await grow(290);
    cpSync(state(), join(directory, 'old'), { recursive: true });
    await replicate();
    const pointer = (await localFiles(join(state(), 'log')).get('checkpoint')) as Buffer;
    await grow(520);
    await replicate();
    rmSync(state(), { recursive: true });
    cpSync(join(directory, 'old'), state(), { recursive: true });
    const thief = openStore(s3(), ENV);
    await thief.put('checkpoint', pointer);
    const kept = bucket.keys().flatMap((key) => (/checkpoints\/.*520$/.test(key) ? [key.slice('gw/'.length)] : []));
    expect(kept).toHaveLength(1);
    for (const key of kept) await thief.delete(key);
    await thief.close();
    await expect(opened(elsewhere({ replicas: [vault] }))).rejects.toMatchObject({ code: 'rolled_back' });
    // Who looks without the lock sees what is on top.
    await (await opened(elsewhere({ replicas: [s3()] }))).close();
  });

  it('is held against what can be read in a replica, whatever else somebody has written there', async () => {
    await rolledBack(290, 520);
    const copy = localFiles(join(directory, 'copy'));
    const some = { replicas: [folder('copy')] };
    const kept = await copy.get('checkpoints/0000000000000520');
    expect(kept).toBeDefined();
    await copy.put('checkpoint', Buffer.from('nothing'));
    writeFileSync(join(directory, 'copy/checkpoints/no KEY'), 'nothing');
    await copy.put('checkpoints/9999999999999999', Buffer.from(new MemoryLog('other.example/log').add('a').checkpoint()));
    await expect(opened(elsewhere(some))).rejects.toMatchObject({ code: 'rolled_back' });
    // Where nothing else tells, it is as if the replica were away.
    await copy.delete('checkpoints/0000000000000520');
    await (await opened(elsewhere(some))).close();
    expect(logged.at(-1)?.[0]).toBe('WHETHER THE LOG IS WHOLE COULD NOT BE ASKED THERE');
    await expect(opened(elsewhere({ ...some, requireElsewhere: true }))).rejects.toMatchObject({ code: 'unconfirmed' });
  });

  it('finds the newest checkpoint of many that are kept', async () => {
    const mount = localFiles(join(directory, 'mount'));
    for (const size of [3, 20, 40, 300]) {
      await grow(size);
      await mount.put(
        `checkpoints/${String(size).padStart(16, '0')}`,
        (await localFiles(join(state(), 'log')).get('checkpoint')) as Buffer,
      );
    }
    await grow(5_000);
    await (await opened(elsewhere({ checkpoints: { everyMs: 1, to: [folder('mount')] } }))).close();
    expect(logged).toEqual([['the log is what is known of it elsewhere', { who: 'the place of checkpoints mount', size: 300 }]]);
  });

  it('says who asks a place over HTTP; that nothing is known there, and that one that is only written to is not asked', async () => {
    await grow(3);
    const { read, ...rest } = web();
    for (const to of [[web()], [{ ...rest, read: undefined }]])
      await (await opened(elsewhere({ checkpoints: { everyMs: 1, to } }))).close();
    expect(receiver.asked.map(({ authorization }) => authorization)).toEqual(['Bearer secret-of-the-place']);
    expect(logged).toEqual([['nothing of the log is known there', { who: 'the place of checkpoints web' }]]);
    expect(read).toBe(receiver.url);
  });

  const stranger = new MemoryLog('other.example/log').add('a').checkpoint();
  const forged = new MemoryLog(ORIGIN, parseSignerKey(generateSignerKey(ORIGIN))).add('a').checkpoint();
  it.each<[string, (response: ServerResponse) => void, RegExp]>([
    ['of another log', (response) => response.end(stranger), /no checkpoint of this log: /],
    ['that another key signed', (response) => response.end(forged), /no checkpoint of this log: .*sign/],
    ['that is none', (response) => response.end('<html>Welcome</html>'), /no checkpoint of this log: /],
    ['that is empty', (response) => response.end(), /no checkpoint of this log: /],
    ['without an end', (response) => response.write('x'), /no answer within 1000 ms/],
    ['that breaks off', (response) => void response.write('x', () => response.destroy()), /cannot be reached: /],
    ['that never comes', () => {}, /no answer within 1000 ms/],
    [
      'of a GiB',
      (response) => void response.writeHead(200, { 'content-length': 1 << 30 }).write(Buffer.alloc(1 << 20)),
      /more than 65536 bytes/,
    ],
    [
      'of somewhere else',
      (response) => response.writeHead(302, { location: 'http://127.0.0.1:9/' }).end(),
      /gave no checkpoint back: status 302/,
    ],
    ['that it may not have', (response) => response.writeHead(403).end(), /gave no checkpoint back: status 403/],
    ['of a server that fails', (response) => response.writeHead(500).end(), /gave no checkpoint back: status 500/],
  ])('is not confirmed by an answer over HTTP %s', async (_, answer, reason) => {
    await grow(3);
    receiver.answer = answer;
    const some = { checkpoints: { everyMs: 1, to: [{ ...web(), read: `${receiver.url}?sig=secret-of-the-url` }] } };
    await (await opened(elsewhere(some))).close();
    expect(JSON.stringify(logged)).not.toContain('secret-of-the-url');
    expect(logged).toEqual([
      ['WHETHER THE LOG IS WHOLE COULD NOT BE ASKED THERE', { who: 'the place of checkpoints web', reason: expect.stringMatching(reason) }],
    ]);
    await expect(opened(elsewhere({ ...some, requireElsewhere: true }))).rejects.toMatchObject({
      code: 'unconfirmed',
      message: expect.stringMatching(reason),
    });
  });

  it('goes on while others are away, and says who; where they are demanded it does not', async () => {
    await rolledBack(290, 520);
    await bucket.close();
    const [vault, stranger] = [s3(), folder('stranger')];
    await localFiles(join(directory, 'stranger')).put('checkpoint', Buffer.from(new MemoryLog('other.example/log').add('a').checkpoint()));
    witness.away = true;
    const some = { ...KNOWING.at(-1)?.[1](), replicas: [vault, stranger] };
    await (await opened(elsewhere(some))).close();
    expect(logged.map(([message, fields]) => [message, (fields as { who: string }).who])).toEqual(
      ['the replica vault', 'the replica stranger', 'the witness w1'].map((who) => [
        'WHETHER THE LOG IS WHOLE COULD NOT BE ASKED THERE',
        who,
      ]),
    );
    await expect(opened(elsewhere({ ...some, requireElsewhere: true }))).rejects.toMatchObject({
      code: 'unconfirmed',
      message: expect.stringMatching(/the replica vault \(.*the replica stranger \(.*the witness w1 \(/),
    });
    bucket = await Bucket.open();
  });

  it('goes on when it is new, and nobody can know it; one that is not new and that nobody knows is not confirmed', async () => {
    const some = { replicas: [folder('copy'), s3()], requireElsewhere: true };
    await (await opened(elsewhere(some))).close();
    await grow(3);
    await expect(opened(elsewhere(some))).rejects.toMatchObject({
      code: 'unconfirmed',
      message: expect.stringContaining('nobody elsewhere knows'),
    });
  });

  it('is what a replica knows that was last copied before the keys changed', async () => {
    await grow(290);
    await tellEverybody();
    const next = parseSignerKey(generateSignerKey(ORIGIN));
    await (await opened(undefined, { signers: [SIGNER, next] })).close();
    const log = await opened(undefined, { signers: [SIGNER, next] });
    log.stage(subject(291), Buffer.from('both sign'));
    await log.settled();
    await log.publish();
    await log.close();
    const after = elsewhere({ replicas: [folder('copy')], requireElsewhere: true }, { signers: [next] });
    await (await opened(after, { signers: [next] })).close();
    expect(logged).toEqual([['the log is what is known of it elsewhere', { who: 'the replica copy', size: 290 }]]);
  });
});
