/**
 * The stores of the evidence against real ones: `storage.ts minio` and `storage.ts azurite`. Starts what it names, says `ok - …` or `not ok - …` for each
 * behaviour, and ends it again.
 */
import { strictEqual as equal, match } from 'node:assert';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AwsV4Signer } from 'aws4fetch';
import { Secret } from '../../authz-service/credential/secret.ts';
import type { AwsIdentity } from '../../authz-service/storage/aws_credentials.ts';
import { AzureBlobStore, sharedKey } from '../../authz-service/storage/azure_blob.ts';
import { caller } from '../../authz-service/storage/call.ts';
import { codeOf, SHARED_BEHAVIOURS, WRITE_ONCE_BEHAVIOURS } from '../../authz-service/storage/object_store.behaviour.ts';
import type { ObjectStore } from '../../authz-service/storage/object_store.ts';
import { S3Store } from '../../authz-service/storage/s3.ts';
import { end, freePort, outcome, show, start } from './server.ts';

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
  const [port, user, password] = [await freePort(), 'sluice', 'sluice-secret'];
  const server = await start(
    program,
    ['server', '--quiet', '--address', `127.0.0.1:${port}`, directory],
    { MINIO_ROOT_USER: user, MINIO_ROOT_PASSWORD: password, MINIO_BROWSER: 'off' },
    port,
  );
  const endpoint = new URL(`http://127.0.0.1:${port}`);
  const call = caller();
  const plain = {
    endpoint,
    region: 'us-east-1',
    bucket: 'plain',
    prefix: 'p/',
    pathStyle: true,
    identity: identityOf(user, password),
    call,
    pointers,
  };
  try {
    const makeBucket = async (name: string, lock: boolean): Promise<void> => {
      const { url, headers } = await new AwsV4Signer({
        method: 'PUT',
        url: new URL(name, endpoint).href,
        headers: { 'x-amz-bucket-object-lock-enabled': String(lock) },
        accessKeyId: user,
        secretAccessKey: password,
        service: 's3',
        region: 'us-east-1',
      }).sign();
      equal((await fetch(url, { method: 'PUT', headers })).status, 200);
    };
    await makeBucket('retained', true);
    await makeBucket('plain', false);
    const storeOf = (bucket: string, prefix: string, lock?: 'compliance' | 'governance', secret = password): S3Store =>
      new S3Store({ ...plain, bucket, prefix, identity: identityOf(user, secret), ...(lock && { lock }) });
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
    await show('MinIO: a store that is away is unavailable', async () => {
      await end(server);
      const impatient = new S3Store({ ...plain, call: caller({ attempts: 2, firstWaitMs: 1 }) });
      equal(await codeOf(impatient.get('away')), 'unavailable');
    });
  } finally {
    call.close();
    await end(server);
  }
};

/** The emulator's well-known account, which its documentation publishes. */
const ACCOUNT = 'devstoreaccount1';
const ACCOUNT_KEY = 'Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==';

const azurite = async (): Promise<void> => {
  const port = await freePort();
  const args = [
    '--blobHost',
    '127.0.0.1',
    '--blobPort',
    String(port),
    '--location',
    directory,
    '--silent',
    '--disableTelemetry',
    '--skipApiVersionCheck',
  ];
  const server = await start(process.execPath, [program, ...args], {}, port);
  const call = caller();
  try {
    const storeOf = (container: string, lock?: 'compliance', key = ACCOUNT_KEY): AzureBlobStore =>
      new AzureBlobStore({
        account: ACCOUNT,
        endpoint: new URL(`http://127.0.0.1:${port}/${ACCOUNT}`),
        container,
        prefix: 'log/',
        access: { kind: 'key', key: { read: () => ({ secret: new Secret(key) }) } },
        call,
        pointers,
        ...(lock && { lock }),
      });
    const store = storeOf('evidence');
    const url = new URL(`http://127.0.0.1:${port}/${ACCOUNT}/evidence?restype=container`);
    const headers = { 'content-length': '0', 'x-ms-date': new Date().toUTCString(), 'x-ms-version': '2021-12-02' };
    const authorization = sharedKey(ACCOUNT, ACCOUNT_KEY, 'PUT', url, headers);
    equal((await fetch(url, { method: 'PUT', headers: { ...headers, authorization } })).status, 201);
    for (const { what, show: act } of SHARED_BEHAVIOURS) await show(`Azurite: ${what}`, () => act(store));
    await show('Azurite: conditional puts are seen to hold', () => store.verify());
    await show('Azurite: has no immutability, and is refused where that was asked for', async () => {
      const error = await storeOf('evidence', 'compliance')
        .verify()
        .then(() => undefined)
        .catch((one: Error) => one);
      match(error?.message ?? '', /is not write-once: the container has no version-level immutability/);
    });
    await show('Azurite: a wrong key is refused', async () => {
      equal(await codeOf(storeOf('evidence', undefined, Buffer.from('wrong').toString('base64')).get('a')), 'forbidden');
    });
  } finally {
    call.close();
    await end(server);
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
