/**
 * What a service asks of real stores when it starts, and what `sluice log restore` makes of them: `restore.ts minio PROGRAM` (a bucket with Object Lock, one without)
 * and `restore.ts azurite PROGRAM`. The state directory is lost, or of an older day; and somebody who has the store's credentials hides what it knows.
 */
import { deepStrictEqual as equal, match, ok, strictEqual } from 'node:assert';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MUST_BE_ASKED, NOT_ASKED } from '../../authz-service/custody/elsewhere.ts';
import { s3Config } from '../../authz-service/custody/stores.fixture.ts';
import type { StoreConfig } from '../../authz-service/custody/stores.ts';
import { openStore } from '../../authz-service/custody/stores.ts';
import { recordParts } from '../../authz-service/record.ts';
import { localFiles } from '../../authz-service/storage/local_files.ts';
import type { ObjectStore } from '../../authz-service/storage/object_store.ts';
import { openSink } from '../../authz-service/tap/sink.ts';
import { LoneService, sizeIn } from '../faults/lone_service.fixture.ts';
import { freePort } from '../free_port.fixture.ts';
import { outcome, show } from './server.ts';
import {
  ACCOUNT,
  ACCOUNT_KEY,
  azuriteIn,
  MINIO_PASSWORD,
  MINIO_USER,
  makeBucket,
  makeContainer,
  minioOn,
  type RealStore,
} from './stores.ts';

const [kind = '', program = ''] = process.argv.slice(2);
const directory = mkdtempSync(join(tmpdir(), 'sluice-restore-'));
process.env.S3_SECRET = kind === 'minio' ? MINIO_PASSWORD : ACCOUNT_KEY;

interface Tried {
  readonly title: string;
  readonly server: RealStore;
  /** As in `sluice.yaml`, but for name and prefix. */
  readonly row: object;
  /** The same, as the service has it, without its locks: who has the credentials can do what they can do. */
  readonly bare: StoreConfig;
  readonly locked: boolean;
}

/** Before the first day and after it: a bundle that is not full yet becomes full, and another begins. */
const [BEFORE, AFTER] = [200, 500];

const lostAndFound = async ({ title, server, row, bare, locked }: Tried): Promise<void> => {
  const service = new LoneService();
  const { state, dir } = service;
  const at = (...path: string[]): string => join(dir, ...path);
  const remote = (prefix: string): ObjectStore => openStore({ ...bare, prefix } as StoreConfig);
  const [vault, second] = [remote('gw/'), remote('second/')];
  const replicas = [{ ...row, name: 'vault', prefix: 'gw/' }];
  const places = { every: '1s', to: [{ ...row, name: 'second', prefix: 'second/' }] };
  const configure = (who: { replicas?: object[]; checkpoints?: object }, requireElsewhere = true): void =>
    service.configure({ ...who, require_elsewhere: requireElsewhere });

  /** Starts it, and stops it, which copies what there is. @returns how much that is */
  const day = async (): Promise<number> => {
    for (let n = 0; ; n++) {
      strictEqual(await service.start(), undefined, service.said);
      await service.stop();
      const size = await sizeIn(localFiles(join(state, 'tap/log')));
      if ((await sizeIn(vault)) === size) return size;
      // The last copy has 5 s, which a very busy machine may not be through in; the next day's has it, too.
      if (n === 3) throw new Error('a stop leaves the replica behind');
    }
  };
  const fill = async (count: number): Promise<void> => {
    const sink = await openSink({ ...recordParts({ stateDir: state, tap: { retention: { kinds: {} } } as never }) });
    for (let n = 0; n < count; n += 1)
      await sink.append([{ session: '', target: 'demo', body: { kind: 'notice', notice: 'test', text: `number ${n}` } }]);
    await sink.close();
  };
  const keyAlone = (): void => {
    const key = readFileSync(join(state, 'tap/key'));
    rmSync(state, { recursive: true });
    mkdirSync(join(state, 'tap'), { recursive: true });
    writeFileSync(join(state, 'tap/key'), key, { mode: 0o600 });
  };
  const back = (to: string): void => {
    rmSync(state, { recursive: true });
    cpSync(to, state, { recursive: true });
  };
  const refused = async (who: string, size: number): Promise<void> => {
    equal(await service.start(), 1, service.said);
    match(service.said, new RegExp(`${who}[^\n]*: ${size} leaves`));
  };
  const kept = async (store: ObjectStore): Promise<string[]> => {
    const keys: string[] = [];
    for await (const key of store.list('checkpoints/')) keys.push(key);
    return keys;
  };

  /** Whatever full bundles stand behind the newest checkpoint that there is goes along, once it is named. */
  const restoreAll = async (): ReturnType<LoneService['sluice']> => {
    const first = await service.sluice('log', 'restore', 'vault');
    const [, beyond] = / (--sign-beyond \d+)/.exec(first.err) ?? [];
    return beyond === undefined ? first : await service.sluice('log', 'restore', 'vault', ...beyond.split(' '));
  };

  try {
    configure({ replicas, checkpoints: places }, false);
    let [old, known] = [0, 0];
    await show(`${title}: the record is copied there`, async () => {
      await fill(BEFORE);
      await day();
      cpSync(state, at('old'), { recursive: true });
      old = await sizeIn(localFiles(at('old/tap/log')));
      await fill(AFTER);
      known = await day();
      ok(old > BEFORE && known > old + AFTER);
      writeFileSync(at('kept'), (await vault.get('checkpoint')) as Buffer);
    });
    await show(`${title}: a service whose record is what is known there starts, when it must be known`, async () => {
      configure({ replicas, checkpoints: places });
      known = await day();
      cpSync(state, at('new'), { recursive: true });
    });
    await show(`${title}: a state that was rolled back is refused, for what the replica knows, and for what the place knows`, async () => {
      back(at('old'));
      await refused('the replica vault', known);
      configure({ checkpoints: places });
      await refused('the place of checkpoints second', known);
    });
    await show(`${title}: so is one that is gone`, async () => {
      configure({ replicas });
      keyAlone();
      await refused('the replica vault', known);
    });
    await show(`${title}: with nothing but the key, the record is made anew, goes on, and is copied on`, async () => {
      const { code, out, err } = await service.sluice('log', 'restore', 'vault', '--checkpoint', at('kept'));
      equal([code, err], [0, ''], out);
      match(out, new RegExp(`VERIFIED[\\s\\S]*: ${known} leaves\\.`));
      const size = await day();
      ok(size > known);
      known = size;
      strictEqual((await service.sluice('verify', '--checkpoint', at('kept'))).code, 0);
      const there = await service.sluice('verify', '--log', 'vault', '--checkpoint', at('kept'), '--json');
      equal([there.code, JSON.parse(there.out).size], [0, size], there.err);
      rmSync(at('new'), { recursive: true });
      cpSync(state, at('new'), { recursive: true });
    });

    const oldNote = readFileSync(at('old/tap/log/checkpoint'));
    const beyond = async (store: ObjectStore): Promise<number> => Number((await kept(store)).at(-1)?.slice(-16));
    await show(`${title}: a pointer that was set back hides nothing: the checkpoints that are kept beside it tell`, async () => {
      await vault.put('checkpoint', oldNote);
      back(at('old'));
      configure({ replicas });
      await refused('the replica vault', await beyond(vault));
      equal(await sizeIn(localFiles(join(state, 'tap/log'))), old);
    });
    if (locked)
      await show(`${title}: nor does deleting what is locked: a marker above it hides it from nobody`, async () => {
        const [size, sizeOfPlace] = [await beyond(vault), await beyond(second)];
        for (const store of [vault, second]) for (const key of await kept(store)) if (Number(key.slice(-16)) > old) await store.delete(key);
        ok((await beyond(vault)) <= old);
        await refused('the replica vault', size);
        configure({ checkpoints: places });
        await refused('the place of checkpoints second', sizeOfPlace);
      });
    await show(`${title}: the record is made anew from it all the same`, async () => {
      configure({ replicas });
      keyAlone();
      const { code, out, err } = await restoreAll();
      equal([code, err], [0, ''], out);
      const [, size = ''] = /: (\d+) leaves/.exec(out) ?? [];
      ok(Number(size) >= 512, `${size} leaves: the pointer has ${old}`);
    });
    await show(`${title}: a pointer that was deleted, or is nothing, is no hindrance either`, async () => {
      for (const damage of [() => vault.delete('checkpoint'), () => vault.put('checkpoint', Buffer.from('nothing'))]) {
        await damage();
        keyAlone();
        const { code, out, err } = await restoreAll();
        equal([code, err], [0, ''], out);
      }
    });
    await show(
      `${title}: ${locked ? 'what was written over locked tiles is not read' : 'an entry that was changed is told, and nothing is restored'}`,
      async () => {
        const entries = (await vault.get('tile/entries/000')) as Buffer;
        await vault.put('tile/entries/000', entries.with(80, (entries[80] as number) ^ 1));
        keyAlone();
        const { code, out, err } = await restoreAll();
        strictEqual(code, locked ? 0 : 1, `${out}${err}`);
        equal(existsSync(join(state, 'tap/log')), locked);
      },
    );
    await show(`${title}: away, the service starts and says so; where it must be asked, it does not start`, async () => {
      await server.end();
      back(at('new'));
      configure({ replicas });
      equal(await service.start(), 1);
      ok(service.said.includes(`${MUST_BE_ASKED} the replica vault`), service.said);
      configure({ replicas }, false);
      strictEqual(await service.start(), undefined, service.said);
      ok(service.said.includes(NOT_ASKED), service.said);
      await service.stop();
    });
  } finally {
    await Promise.all([vault.close(), second.close()]);
    await service.close();
  }
};

const minio = async (): Promise<void> => {
  const server = minioOn(program, directory, await freePort());
  try {
    for (const locked of [true, false]) {
      await server.start();
      const bucket = locked ? 'locked' : 'plain';
      await makeBucket(server, bucket, locked);
      const where = { type: 's3', bucket, region: 'us-east-1', endpoint: server.endpoint.origin, timeout: '5s' };
      const row = {
        ...where,
        access_key_id: MINIO_USER,
        secret_access_key: { env: 'S3_SECRET' },
        ...(locked && { write_once: 'compliance', lock: '1h' }),
      };
      const bare = s3Config(server.endpoint, { bucket, region: 'us-east-1', timeoutMs: 5_000, accessKeyId: MINIO_USER });
      await lostAndFound({ title: `MinIO ${locked ? 'under compliance' : 'without locks'}`, server, row, bare, locked });
    }
  } finally {
    await server.end();
  }
};

const azurite = async (): Promise<void> => {
  const server = await azuriteIn(program, directory);
  try {
    await server.start();
    await makeContainer(server, 'evidence');
    const where = { type: 'azure', account: ACCOUNT, container: 'evidence', endpoint: server.endpoint.href, identity: 'key' };
    const key = { env: 'S3_SECRET' };
    const row = { ...where, timeout: '5s', key };
    const bare = { ...where, name: '', prefix: '', writeOnce: 'no', lockMs: 0, timeoutMs: 5_000, clientId: undefined, key, tls: undefined };
    await lostAndFound({ title: 'Azurite', server, row, bare: bare as StoreConfig, locked: false });
  } finally {
    await server.end();
  }
};

const KINDS: Readonly<Record<string, () => Promise<void>>> = { minio, azurite };
try {
  const run = KINDS[kind];
  if (run === undefined || !existsSync(program)) throw new Error(`restore.ts ${Object.keys(KINDS).join('|')} PROGRAM`);
  await run();
} finally {
  rmSync(directory, { recursive: true, force: true });
}
process.exitCode = outcome();
