/**
 * Who the service is to an S3 store: written down, or given by the place where it runs. The few documented calls, so that no SDK comes along for them.
 */
import { readFile } from 'node:fs/promises';
import { Secret } from '../credential/secret.ts';
import { isError, type SecretReader } from '../credential/secret_source.ts';
import type { Answer, Call, Caller } from './call.ts';
import { StorageError } from './object_store.ts';
import { textOf } from './xml.ts';

export interface AwsCredentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: Secret;
  readonly sessionToken: Secret | undefined;
  /** Unix milliseconds; `Infinity` when they do not end. */
  readonly expiresAt: number;
}

/** Credentials that are good now. Rejects with a `StorageError` (`forbidden`: there are none; `unavailable`: who gives them is away). */
export interface AwsIdentity {
  credentials(): Promise<AwsCredentials>;
  /** The store did not take the last ones: the next are fetched anew. */
  forget(): void;
}

type Environment = Readonly<Record<string, string | undefined>>;

export const writtenIdentity = (accessKeyId: string, secret: SecretReader): AwsIdentity => ({
  async credentials() {
    const outcome = secret.read();
    if (isError(outcome)) throw new StorageError('forbidden', `the secret access key: ${outcome.error.message}`);
    return { accessKeyId, secretAccessKey: outcome.secret, sessionToken: undefined, expiresAt: Number.POSITIVE_INFINITY };
  },
  forget() {},
});

/** Renewed this long before they end. */
const MARGIN_MS = 300_000;

/**
 * What the environment says, in the order of AWS's own SDKs: `AWS_ACCESS_KEY_ID`, a web identity (IAM roles for service accounts), a container's
 * endpoint (ECS, EKS pod identity), the instance metadata service in its version 2.
 */
export const ambientIdentity = (call: Caller, env: Environment, region: string, now: () => number = Date.now): AwsIdentity => {
  let kept: AwsCredentials | undefined;
  let fetching: Promise<AwsCredentials> | undefined;
  const fetchAnew = async (): Promise<AwsCredentials> => {
    try {
      kept = await find(call, env, region);
    } catch (error) {
      if (kept === undefined || kept.expiresAt <= now()) throw error;
    }
    return kept;
  };
  return {
    async credentials() {
      if (kept !== undefined && now() < kept.expiresAt - MARGIN_MS) return kept;
      fetching ??= fetchAnew().finally(() => {
        fetching = undefined;
      });
      return await fetching;
    },
    forget: () => {
      kept = undefined;
    },
  };
};

const find = async (call: Caller, env: Environment, region: string): Promise<AwsCredentials> => {
  const { AWS_ACCESS_KEY_ID: id, AWS_SECRET_ACCESS_KEY: secret, AWS_SESSION_TOKEN: token } = env;
  if (id && secret)
    return {
      accessKeyId: id,
      secretAccessKey: new Secret(secret),
      sessionToken: token ? new Secret(token) : undefined,
      expiresAt: Number.POSITIVE_INFINITY,
    };
  if (env.AWS_WEB_IDENTITY_TOKEN_FILE && env.AWS_ROLE_ARN)
    return webIdentity(call, env.AWS_WEB_IDENTITY_TOKEN_FILE, env.AWS_ROLE_ARN, env, region);
  if (env.AWS_CONTAINER_CREDENTIALS_FULL_URI || env.AWS_CONTAINER_CREDENTIALS_RELATIVE_URI) return container(call, env);
  if (env.AWS_EC2_METADATA_DISABLED?.toLowerCase() === 'true')
    throw new StorageError('forbidden', 'there are no AWS credentials: none are written down, and the environment names no provider');
  return instance(call, env);
};

const urlOf = (text: string, what: string): URL => {
  const url = URL.parse(text);
  if (url?.protocol === 'http:' || url?.protocol === 'https:') return url;
  throw new StorageError('forbidden', `${what} is no URL`);
};

const textFile = async (path: string, what: string): Promise<string> =>
  (
    await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
      throw new StorageError('forbidden', `${what} ${path} cannot be read: ${error.code}`);
    })
  ).trim();

const get = (url: URL, headers: Call['headers']): Call => ({ method: 'GET', url, headers });

/** https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html; the file is read each time: its content is renewed under the same name. */
const webIdentity = async (call: Caller, file: string, role: string, env: Environment, region: string): Promise<AwsCredentials> => {
  const url = urlOf(env.AWS_ENDPOINT_URL_STS || `https://sts.${region}.amazonaws.com`, 'AWS_ENDPOINT_URL_STS');
  const form = new URLSearchParams({
    Action: 'AssumeRoleWithWebIdentity',
    Version: '2011-06-15',
    RoleArn: role,
    RoleSessionName: env.AWS_ROLE_SESSION_NAME || 'sluice',
    WebIdentityToken: await textFile(file, 'the web identity token'),
  });
  const headers = { 'content-type': 'application/x-www-form-urlencoded' };
  const answer = await call(() => ({ method: 'POST', url, headers, body: Buffer.from(form.toString()) }));
  const xml = answer.body.toString();
  if (answer.status !== 200) throw refusal('AssumeRoleWithWebIdentity', answer, textOf(xml, 'Message'));
  return checked('AssumeRoleWithWebIdentity', {
    AccessKeyId: textOf(xml, 'AccessKeyId'),
    SecretAccessKey: textOf(xml, 'SecretAccessKey'),
    Token: textOf(xml, 'SessionToken'),
    Expiration: textOf(xml, 'Expiration'),
  });
};

const CONTAINER_HOST = 'http://169.254.170.2';

/** https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html */
const container = async (call: Caller, env: Environment): Promise<AwsCredentials> => {
  const relative = env.AWS_CONTAINER_CREDENTIALS_RELATIVE_URI;
  const url = urlOf(relative ? CONTAINER_HOST + relative : (env.AWS_CONTAINER_CREDENTIALS_FULL_URI ?? ''), 'the container credentials URI');
  const file = env.AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE;
  const token = file ? await textFile(file, 'the container authorization token') : env.AWS_CONTAINER_AUTHORIZATION_TOKEN;
  const answer = await call(() => get(url, token ? { authorization: token } : {}));
  return checked('the container credentials endpoint', json('the container credentials endpoint', answer));
};

/** https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-instance-metadata-service.html */
const instance = async (call: Caller, env: Environment): Promise<AwsCredentials> => {
  const who = 'the instance metadata service';
  const base = urlOf(env.AWS_EC2_METADATA_SERVICE_ENDPOINT || 'http://169.254.169.254', 'AWS_EC2_METADATA_SERVICE_ENDPOINT');
  const at = (path: string): URL => new URL(path, base);
  const session = await call(() => ({
    method: 'PUT',
    url: at('/latest/api/token'),
    headers: { 'x-aws-ec2-metadata-token-ttl-seconds': '300' },
  }));
  if (session.status !== 200) throw refusal(who, session, 'no session token');
  const headers = { 'x-aws-ec2-metadata-token': session.body.toString() };
  const roles = await call(() => get(at('/latest/meta-data/iam/security-credentials/'), headers));
  const role = roles.body.toString().split('\n')[0]?.trim() ?? '';
  if (roles.status !== 200 || !/^[\w+=,.@-]+$/.test(role)) throw refusal(who, roles, 'the instance has no role');
  return checked(who, json(who, await call(() => get(at(`/latest/meta-data/iam/security-credentials/${role}`), headers))));
};

const json = (who: string, answer: Answer): Readonly<Record<string, unknown>> => {
  if (answer.status !== 200) throw refusal(who, answer, '');
  try {
    const parsed: unknown = JSON.parse(answer.body.toString());
    if (typeof parsed === 'object' && parsed !== null) return parsed as Readonly<Record<string, unknown>>;
  } catch {}
  throw refusal(who, answer, 'what it said is no JSON object');
};

const refusal = (who: string, { status }: Answer, why: string): StorageError =>
  new StorageError(status >= 500 ? 'unavailable' : 'forbidden', `${who} gave no credentials (status ${status})${why ? `: ${why}` : ''}`);

const checked = (
  who: string,
  { AccessKeyId: id, SecretAccessKey: secret, Token: token, Expiration: ends }: Readonly<Record<string, unknown>>,
): AwsCredentials => {
  const expiresAt = Date.parse(String(ends));
  if (typeof id !== 'string' || typeof secret !== 'string' || id === '' || secret === '' || Number.isNaN(expiresAt))
    throw new StorageError('forbidden', `${who} gave something else than credentials`);
  return {
    accessKeyId: id,
    secretAccessKey: new Secret(secret),
    sessionToken: typeof token === 'string' && token ? new Secret(token) : undefined,
    expiresAt,
  };
};
