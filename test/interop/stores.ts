/** Real stores of objects for the interoperability tests: a MinIO with buckets, an Azurite with containers. */
import { strictEqual as equal } from 'node:assert';
import type { ChildProcess } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { AwsV4Signer } from 'aws4fetch';
import { sharedKey } from '../../authz-service/storage/azure_blob.ts';
import { freePort } from '../free_port.fixture.ts';
import { end, start } from './server.ts';

export const MINIO_USER = 'sluice';
export const MINIO_PASSWORD = 'sluice-secret';

/** The emulator's well-known account, which its documentation publishes. */
export const ACCOUNT = 'devstoreaccount1';
export const ACCOUNT_KEY = 'Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==';

/** A server that can be ended and started again at the same address. */
export class RealStore {
  readonly endpoint: URL;
  readonly #run: () => Promise<ChildProcess>;
  #child: ChildProcess | undefined;

  constructor(port: number, run: () => Promise<ChildProcess>, path = '') {
    this.endpoint = new URL(`http://127.0.0.1:${port}${path}`);
    this.#run = run;
  }

  async start(): Promise<void> {
    this.#child = await this.#run();
  }

  async end(): Promise<void> {
    if (this.#child !== undefined) await end(this.#child);
  }
}

/** A MinIO on `port`, which is not started yet, with its data in `directory`. */
export const minioOn = (program: string, directory: string, port: number): RealStore =>
  new RealStore(port, () =>
    start(
      program,
      ['server', '--quiet', '--address', `127.0.0.1:${port}`, directory],
      { MINIO_ROOT_USER: MINIO_USER, MINIO_ROOT_PASSWORD: MINIO_PASSWORD, MINIO_BROWSER: 'off' },
      port,
    ),
  );

export const makeBucket = async ({ endpoint }: RealStore, name: string, lock: boolean): Promise<void> => {
  // A server that has just begun says 503 for a moment.
  for (let attempt = 1; ; attempt += 1, await sleep(200)) {
    const { url, headers } = await new AwsV4Signer({
      method: 'PUT',
      url: new URL(name, endpoint).href,
      headers: { 'x-amz-bucket-object-lock-enabled': String(lock) },
      accessKeyId: MINIO_USER,
      secretAccessKey: MINIO_PASSWORD,
      service: 's3',
      region: 'us-east-1',
    }).sign();
    const { status } = await fetch(url, { method: 'PUT', headers });
    if (status !== 503 || attempt === 50) return equal(status, 200);
  }
};

/** An Azurite that is not started yet, with its data in `directory`. */
export const azuriteIn = async (program: string, directory: string): Promise<RealStore> => {
  const port = await freePort();
  const blobs = ['--blobHost', '127.0.0.1', '--blobPort', String(port), '--location', directory];
  const args = [program, ...blobs, '--silent', '--disableTelemetry', '--skipApiVersionCheck'];
  return new RealStore(port, () => start(process.execPath, args, {}, port), `/${ACCOUNT}`);
};

export const makeContainer = async ({ endpoint }: RealStore, name: string): Promise<void> => {
  const url = new URL(`${endpoint}/${name}?restype=container`);
  const headers = { 'content-length': '0', 'x-ms-date': new Date().toUTCString(), 'x-ms-version': '2021-12-02' };
  const authorization = sharedKey(ACCOUNT, ACCOUNT_KEY, 'PUT', url, headers);
  equal((await fetch(url, { method: 'PUT', headers: { ...headers, authorization } })).status, 201);
};
