/**
 * The stores of the evidence against real ones: `storage.ts minio` and `storage.ts azurite`. Starts what it names, says `ok - …` or `not ok - …` for each
 * behaviour, and ends it again.
 */
import { strictEqual as equal, match, ok } from 'node:assert';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Secret } from '../../authz-service/credential/secret.ts';
import { ALIKE } from '../../authz-service/custody/ages.fixture.ts';
import { type Custody, STORE_NOTICES, startCustody, unfitText } from '../../authz-service/custody/custody.ts';
import { s3Config } from '../../authz-service/custody/stores.fixture.ts';
import type { StoreConfig } from '../../authz-service/custody/stores.ts';
import { DELETED_NOTICE, goingText } from '../../authz-service/log/going.ts';
import { payloadKind } from '../../authz-service/log/leaf.ts';
import { PublishedLog } from '../../authz-service/log/published.fixture.ts';
import type { AwsIdentity } from '../../authz-service/storage/aws_credentials.ts';
import { AzureBlobStore, NO_IMMUTABILITY } from '../../authz-service/storage/azure_blob.ts';
import { caller } from '../../authz-service/storage/call.ts';
import { codeOf, SHARED_BEHAVIOURS, WRITE_ONCE_BEHAVIOURS } from '../../authz-service/storage/object_store.behaviour.ts';
import type { ObjectStore } from '../../authz-service/storage/object_store.ts';
import { NO_OBJECT_LOCK, S3Store } from '../../authz-service/storage/s3.ts';
import { freePort } from '../free_port.fixture.ts';
import { outcome, show } from './server.ts';
import { ACCOUNT, ACCOUNT_KEY, azuriteIn, MINIO_PASSWORD, MINIO_USER, makeBucket, makeContainer, minioOn } from './stores.ts';

const [kind = '', program = ''] = process.argv.slice(2);

const pointers = new Set(['checkpoint']);
const directory = mkdtempSync(join(tmpdir(), 'sluice-storage-'));

const identityOf = (accessKeyId: string, secret: string): AwsIdentity => ({
  credentials: async () => ({
    accessKeyId,
    secretAccessKey: new Secret(secret),
    sessionToken: undefined,
    expiresAt: Number.POSITIVE_INFINITY,
  }),
  forget() {},
});

const minio = async (): Promise<void> => {
  const port = await freePort();
  const server = minioOn(program, directory, port);
  await server.start();
  const call = caller();
  const plain = {
    endpoint: server.endpoint,
    region: 'us-east-1',
    bucket: 'plain',
    prefix: 'p/',
    pathStyle: true,
    identity: identityOf(MINIO_USER, MINIO_PASSWORD),
    call,
    pointers,
  };
  try {
    await makeBucket(server, 'retained', true);
    await makeBucket(server, 'plain', false);
    const storeOf = (bucket: string, prefix: string, lock?: 'compliance' | 'governance', secret = MINIO_PASSWORD): S3Store =>
      new S3Store({ ...plain, bucket, prefix, identity: identityOf(MINIO_USER, secret), ...(lock && { lock }) });
    const each = async (title: string, store: ObjectStore, behaviours: typeof SHARED_BEHAVIOURS): Promise<void> => {
      for (const { what, show: act } of behaviours) await show(`${title}: ${what}`, () => act(store));
    };
    await each('MinIO without locks', storeOf('plain', 'p/'), SHARED_BEHAVIOURS);
    await each('MinIO under compliance', storeOf('retained', 'c/', 'compliance'), [...SHARED_BEHAVIOURS, ...WRITE_ONCE_BEHAVIOURS]);
    await each('MinIO under governance', storeOf('retained', 'g/', 'governance'), WRITE_ONCE_BEHAVIOURS);
    await show('MinIO: a bucket without Object Lock is refused', async () => {
      equal(await codeOf(storeOf('plain', 'p/', 'compliance').verify()), 'unsupported');
    });
    await show('MinIO: a wrong key is refused', async () => {
      equal(await codeOf(storeOf('plain', 'p/', undefined, 'wrong').get('a')), 'forbidden');
    });
    await show('MinIO: no bucket of that name is refused', async () => {
      equal(await codeOf(storeOf('none', '', 'compliance').verify()), 'forbidden');
    });
    await makeBucket(server, 'kinds', true);
    await keepsKinds(
      s3Config(server.endpoint, {
        writeOnce: 'compliance',
        lockMs: 3_600_000,
        bucket: 'kinds',
        region: 'us-east-1',
        accessKeyId: MINIO_USER,
        prefix: 'k/',
      }),
      storeOf('kinds', 'k/', 'compliance'),
    );
    await makeBucket(server, 'vault', true);
    await server.end();
    await comesBack(port);
    await show('MinIO: a store that is away is unavailable', async () => {
      const impatient = new S3Store({ ...plain, call: caller({ attempts: 2, firstWaitMs: 1 }) });
      equal(await codeOf(impatient.get('away')), 'unavailable');
    });
  } finally {
    call.close();
    await server.end();
  }
};

/** What nothing is deleted by. */
const FOR_EVER = {
  eventsMs: undefined,
  payloadsMs: undefined,
  kinds: ALIKE,
  leavesMs: undefined,
  everyMs: 60_000,
  clockBoundMs: 86_400_000,
};

/** Custody of a log that nobody writes, in one replica. */
const kept = (
  log: PublishedLog,
  directory: string,
  replica: StoreConfig,
  {
    record,
    retention = FOR_EVER,
    leavesOf = () => [],
  }: {
    readonly record: (notice: string, session: string, text: string) => void;
    readonly retention?: Parameters<typeof startCustody>[0]['tap']['retention'];
    readonly leavesOf?: (session: string) => readonly number[];
  },
): Promise<Custody> =>
  startCustody({
    tap: { replicas: [replica], retention, witnesses: { quorum: 0, intervalMs: 1_000, of: [] }, checkpoints: { everyMs: 1_000, to: [] } },
    objects: log.objects,
    origin: log.key.verifier.name,
    keys: [log.key.verifier],
    size: () => log.entries.length,
    directory,
    record: async (notice, session, text) => record(notice, session, text),
    forget: async () => {},
    undisturbed: (work) => work(),
    noticeOf: () => undefined,
    publishRecorded: async () => {},
    publish: async () => {},
    spans: () => [],
    holdBack: () => {},
    prune: async () => {},
    leavesOf: async (session) => leavesOf(session),
    logger: { info() {}, error() {} },
    env: { S3_SECRET: MINIO_PASSWORD },
    proveMs: 200,
    replicateMs: 200,
  });

const until = async (holds: () => boolean | Promise<boolean>): Promise<void> => {
  for (const deadline = Date.now() + 60_000; !(await holds()); await sleep(100))
    if (Date.now() > deadline) throw new Error('it does not come');
};

/** Payloads of several kinds in one bundle, each locked and deleted by its own age. */
const keepsKinds = async (config: StoreConfig, store: S3Store): Promise<void> => {
  const log = new PublishedLog(`${directory}-kinds`);
  const [at, said] = [Date.now(), [] as string[]];
  const kinds = [payloadKind('rows'), payloadKind('request_bodies'), 11];
  for (let i = 0; i < 512; i += 1)
    log.add({ session: i < 256 ? 'ses_1' : 'ses_held', text: `event ${i}`, at, kind: kinds[i % kinds.length] as number });
  await log.publish();
  const retention = { ...FOR_EVER, eventsMs: 600_000, payloadsMs: 600_000, kinds: { ...ALIKE, rowsMs: 5_000 }, everyMs: 200 };
  const custody = await kept(log, `${directory}-kinds`, config, {
    retention,
    record: (notice, _, text) => void said.push(`${notice}: ${text}`),
    leavesOf: (session) => (session === 'ses_held' ? Array.from({ length: 256 }, (_, i) => 256 + i) : []),
  });
  try {
    await custody.legalHolds.add('ses_held', 'corp:dana', 'case 7');
    await until(() => custody.status.replicas[0]?.lag === 0);
    await show('MinIO: nothing of any kind can be deleted before its age', async () => {
      for (const kind of ['rows', 'request_bodies', 'events']) equal(await codeOf(store.delete(`details/${kind}/000`)), 'retained');
    });
    await show(
      'MinIO: the kind whose age is over goes when its own lock allows, recorded before; other kinds and a held session stay',
      async () => {
        await until(async () => (await store.get('details/rows/000')) === undefined);
        equal(Date.now() - at >= 5_000, true);
        const going = goingText({ detailClass: 'rows', ageMs: 5_000, leaves: [{ from: 0, to: 256 }] });
        ok(
          said.some((line) => line.startsWith(`${DELETED_NOTICE}: ${going}; before: none`)),
          said.join('\n'),
        );
        equal(await log.objects.get('details/rows/000'), undefined);
        for (const kind of ['request_bodies/000', 'events/000', 'rows/001', 'request_bodies/001'])
          equal(await codeOf(store.delete(`details/${kind}`)), 'retained');
      },
    );
    await show('MinIO: what a legal hold alone has kept goes after its release, and nothing else', async () => {
      await custody.legalHolds.release('ses_held', 'corp:dana', 'closed');
      await until(async () => (await store.get('details/rows/001')) === undefined);
      equal(await codeOf(store.delete('details/request_bodies/001')), 'retained');
    });
  } finally {
    await custody.close();
  }
};

/** The keeping of the log, with a MinIO that is away when it starts and comes back: as it was, and as another that has the same name and no locks. */
const comesBack = async (port: number): Promise<void> => {
  const log = await new PublishedLog(`${directory}-log`).fill(700).publish();
  const recorded: string[] = [];
  const [server, other] = [minioOn(program, directory, port), minioOn(program, `${directory}-other`, port)];
  const config = s3Config(server.endpoint, {
    writeOnce: 'compliance',
    lockMs: 3_600_000,
    bucket: 'vault',
    region: 'us-east-1',
    accessKeyId: MINIO_USER,
  });
  const keep = (): Promise<Custody> =>
    kept(log, `${directory}-log`, config, { record: (notice, _, text) => void recorded.push(`${notice}: ${text}`) });
  const stateOf = ({ status }: Custody): string | undefined => status.stores[0]?.state;
  const call = caller();
  const reader = new S3Store({
    endpoint: server.endpoint,
    region: config.region,
    bucket: config.bucket,
    prefix: config.prefix,
    pathStyle: true,
    identity: identityOf(MINIO_USER, MINIO_PASSWORD),
    call,
    pointers,
    lock: 'compliance',
  });
  let custody: Custody | undefined;
  try {
    await show('MinIO: away at the start, it is written to once it is back and has shown its locks', async () => {
      custody = await keep();
      equal(stateOf(custody), 'away');
      await server.start();
      await until(() => custody?.status.replicas[0]?.lag === 0 && stateOf(custody) === 'proven');
      match(
        recorded.join('\n'),
        new RegExp(`${STORE_NOTICES.away}: vault: [\\s\\S]*${STORE_NOTICES.proven}: vault: .*deleting it is refused`),
      );
      equal(await codeOf(reader.delete('details/events/000')), 'retained');
      equal(custody.refusal, undefined);
    });
    await show('MinIO: away while it is written to, it goes on when it is back', async () => {
      await server.end();
      await log.fill(300).publish();
      await until(() => custody !== undefined && stateOf(custody) === 'away');
      await server.start();
      await until(() => custody !== undefined && custody.status.replicas[0]?.lag === 0 && stateOf(custody) === 'proven');
      equal((await reader.get('checkpoint'))?.toString(), log.checkpoint());
      await custody?.close();
    });
    await show('MinIO: back as another without locks, nothing is written there and nothing new passes', async () => {
      await server.end();
      await other.start();
      await makeBucket(other, 'vault', false);
      await other.end();
      custody = await keep();
      await other.start();
      await until(() => custody !== undefined && stateOf(custody) === 'unfit');
      equal(custody.refusal, unfitText(['vault']));
      match(recorded.at(-1) ?? '', new RegExp(`^${STORE_NOTICES.unfit}: vault: .*${NO_OBJECT_LOCK}`));
      await sleep(500);
      for await (const key of reader.list('')) throw new Error(`${key} is there`);
    });
  } finally {
    await custody?.close();
    await Promise.all([server.end(), other.end()]);
    call.close();
    for (const beside of ['-log', '-other']) rmSync(`${directory}${beside}`, { recursive: true, force: true });
  }
};

const azurite = async (): Promise<void> => {
  const server = await azuriteIn(program, directory);
  await server.start();
  const call = caller();
  try {
    const storeOf = (container: string, lock?: 'compliance', key = ACCOUNT_KEY): AzureBlobStore =>
      new AzureBlobStore({
        account: ACCOUNT,
        endpoint: server.endpoint,
        container,
        prefix: 'log/',
        access: { kind: 'key', key: { read: () => ({ secret: new Secret(key) }) } },
        call,
        pointers,
        ...(lock && { lock }),
      });
    const store = storeOf('evidence');
    await makeContainer(server, 'evidence');
    for (const { what, show: act } of SHARED_BEHAVIOURS) await show(`Azurite: ${what}`, () => act(store));
    await show('Azurite: conditional puts are seen to hold', () => store.verify());
    await show('Azurite: has no immutability, and is refused where that was asked for', async () => {
      const error = await storeOf('evidence', 'compliance')
        .verify()
        .then(() => undefined)
        .catch((one: Error) => one);
      ok(error?.message.endsWith(`is not write-once: ${NO_IMMUTABILITY}`), error?.message);
    });
    await show('Azurite: a wrong key is refused', async () => {
      equal(await codeOf(storeOf('evidence', undefined, Buffer.from('wrong').toString('base64')).get('a')), 'forbidden');
    });
  } finally {
    call.close();
    await server.end();
  }
};

const KINDS: Readonly<Record<string, () => Promise<void>>> = { minio, azurite };
try {
  const run = KINDS[kind];
  if (run === undefined || !existsSync(program)) throw new Error(`storage.ts ${Object.keys(KINDS).join('|')} PROGRAM`);
  await run();
} finally {
  rmSync(directory, { recursive: true, force: true });
}
process.exitCode = outcome();
