import type { StoreConfig } from './stores.ts';

type S3Config = Extract<StoreConfig, { readonly type: 's3' }>;

/** A bucket as the configuration has it, without locks; the secret key is in the environment, as `S3_SECRET`. */
export const s3Config = (endpoint: URL, some: Partial<S3Config> = {}): S3Config => ({
  type: 's3',
  name: 'vault',
  prefix: 'gw/',
  writeOnce: 'no',
  lockMs: 30 * 86_400_000,
  timeoutMs: 1_000,
  retryMs: 60_000,
  bucket: 'evidence',
  region: 'eu-test-1',
  endpoint: endpoint.href,
  pathStyle: undefined,
  accessKeyId: 'id',
  secretAccessKey: { env: 'S3_SECRET' },
  tls: undefined,
  ...some,
});
