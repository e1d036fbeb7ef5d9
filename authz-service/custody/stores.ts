/** The stores of the configuration, opened. */
import { readFileSync } from 'node:fs';
import type { Config } from '../config/config.ts';
import { managedIdentity, workloadIdentity } from '../credential/azure.ts';
import { isError, secretReader } from '../credential/secret_source.ts';
import { keptToken } from '../credential/token_source.ts';
import { POINTERS } from '../log/replicator.ts';
import { ambientIdentity, writtenIdentity } from '../storage/aws_credentials.ts';
import { type AzureAccess, AzureBlobStore } from '../storage/azure_blob.ts';
import { type Caller, type CallerOptions, caller } from '../storage/call.ts';
import { localFiles } from '../storage/local_files.ts';
import { type ObjectStore, StorageError } from '../storage/object_store.ts';
import { S3Store } from '../storage/s3.ts';

export type StoreConfig = Config['tap']['replicas'][number];
type S3Config = Extract<StoreConfig, { readonly type: 's3' }>;
type AzureConfig = Extract<StoreConfig, { readonly type: 'azure' }>;
type Environment = Readonly<Record<string, string | undefined>>;

/** Of the whole of Azure's public cloud. */
const AZURE_STORAGE = 'https://storage.azure.com/';

/** Whether what is put there can be locked: it was asked for, and `verify` tries it. */
export const isLocked = (config: StoreConfig): boolean => config.type !== 'directory' && config.writeOnce !== 'no';

/** `onDate`: told what time it is there, Unix milliseconds. */
export const openStore = (config: StoreConfig, env: Environment = process.env, onDate?: (unixMs: number) => void): ObjectStore => {
  switch (config.type) {
    case 'directory':
      return localFiles(config.path);
    case 's3':
      return s3(config, env, onDate);
    case 'azure':
      return azure(config, env, onDate);
  }
};

export const callerOf = (
  { tls, timeoutMs }: { readonly tls: { readonly ca: string | undefined } | undefined; readonly timeoutMs: number },
  options: Pick<CallerOptions, 'onDate' | 'attempts' | 'maxAnswerBytes'> = {},
): Caller & { close(): void } => caller({ timeoutMs, ...(tls?.ca !== undefined && { ca: readFileSync(tls.ca) }), ...options });

export type HttpPlaceConfig = Extract<Config['tap']['checkpoints']['to'][number], { readonly type: 'http' }>;

/** The header that says who asks, read anew for each call. Throws when the secret cannot be had. */
export const authorizationOf = ({ token }: HttpPlaceConfig, env: Environment): (() => { authorization?: string }) => {
  const source = token && secretReader(token, surroundings(env));
  return () => {
    const outcome = source?.read();
    if (outcome === undefined) return {};
    if (isError(outcome)) throw new StorageError('forbidden', `its token: ${outcome.error.message}`);
    return { authorization: `Bearer ${outcome.secret.reveal()}` };
  };
};

const lockOf = ({ writeOnce }: S3Config | AzureConfig): { lock?: 'compliance' | 'governance' } =>
  writeOnce === 'no' ? {} : { lock: writeOnce };

const surroundings = (env: Environment) => ({ env, now: Date.now });

const s3 = (config: S3Config, env: Environment, onDate?: (unixMs: number) => void): ObjectStore => {
  const call = callerOf(config, { onDate });
  const { region, bucket, prefix, endpoint, pathStyle, accessKeyId, secretAccessKey } = config;
  return new S3Store({
    endpoint: new URL(endpoint ?? `https://s3.${region}.amazonaws.com`),
    region,
    bucket,
    prefix,
    pathStyle: pathStyle ?? endpoint !== undefined,
    identity:
      accessKeyId !== undefined && secretAccessKey !== undefined
        ? writtenIdentity(accessKeyId, secretReader(secretAccessKey, surroundings(env)))
        : ambientIdentity(call, env, region),
    call,
    pointers: POINTERS,
    ...lockOf(config),
  });
};

const azure = (config: AzureConfig, env: Environment, onDate?: (unixMs: number) => void): ObjectStore => {
  const { account, container, prefix, endpoint } = config;
  return new AzureBlobStore({
    account,
    endpoint: new URL(endpoint ?? `https://${account}.blob.core.windows.net`),
    container,
    prefix,
    access: accessOf(config, env),
    call: callerOf(config, { onDate }),
    pointers: POINTERS,
    ...lockOf(config),
  });
};

const accessOf = ({ identity, key, clientId = '' }: AzureConfig, env: Environment): AzureAccess => {
  if (identity === 'key' && key !== undefined) return { kind: 'key', key: secretReader(key, surroundings(env)) };
  const give = identity === 'workload' ? workloadIdentity : managedIdentity;
  return { kind: 'token', token: keptToken(() => give({ resource: AZURE_STORAGE, clientId }, env)) };
};
