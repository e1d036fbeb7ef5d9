/**
 * Tokens of Microsoft Entra for a workload in Azure: managed identity, and workload identity federation.
 * The few documented calls, so that no SDK comes along for them.
 */
import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Token, TokenError } from './token_source.ts';

export type Environment = Readonly<Record<string, string | undefined>>;

export interface AzureIdentity {
  /** Whom the token is for: the application ID URI of the gateway, without `/.default`. */
  readonly resource: string;
  /** Of a user-assigned identity, or of the federated application; empty: the environment's. */
  readonly clientId: string;
}

const TIMEOUT_MS = 10_000;
const MAX_BYTES = 256 * 1024;
/** IMDS asks for patience: 410 while it is updated, 404 and 429 and 5xx now and then. */
const ATTEMPTS = 5;
const FIRST_WAIT_MS = 800;

type Json = Readonly<Record<string, unknown>>;
interface Answer {
  readonly status: number;
  readonly json: Json;
}

/**
 * The endpoint of App Service, Container Apps and Functions where there is one, else the instance metadata service.
 * https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token
 * @throws {TokenError}
 */
export async function managedIdentity(
  { resource, clientId }: AzureIdentity,
  env: Environment,
  firstWaitMs = FIRST_WAIT_MS,
): Promise<Token> {
  if (env.IDENTITY_ENDPOINT && !env.IDENTITY_HEADER)
    throw new TokenError('IDENTITY_ENDPOINT without IDENTITY_HEADER is that of Azure Arc, which is not supported: use --token-command');
  if (env.IDENTITY_SERVER_THUMBPRINT) throw new TokenError('managed identities of Service Fabric are not supported: use --token-command');
  const ours = env.IDENTITY_ENDPOINT && env.IDENTITY_HEADER;
  const url = urlOf(
    ours
      ? env.IDENTITY_ENDPOINT
      : `${(env.AZURE_POD_IDENTITY_AUTHORITY_HOST || 'http://169.254.169.254').replace(/\/$/, '')}/metadata/identity/oauth2/token`,
    'The endpoint of the managed identity',
  );
  url.searchParams.set('api-version', ours ? '2019-08-01' : '2018-02-01');
  url.searchParams.set('resource', resource);
  if (clientId) url.searchParams.set('client_id', clientId);
  const headers = ours ? { 'x-identity-header': env.IDENTITY_HEADER ?? '' } : { metadata: 'true' };
  for (let attempt = 1; ; attempt += 1) {
    const answer = await call(url, { headers });
    const passing = [404, 410, 429].includes(answer.status) || answer.status >= 500;
    if (!passing || attempt === ATTEMPTS) return tokenOf(answer, 'The managed identity');
    await sleep(firstWaitMs * 2 ** (attempt - 1));
  }
}

/**
 * A token of another issuer, as Kubernetes mounts it, for one of Entra. The file is read each time: its content is renewed under the same name.
 * https://learn.microsoft.com/entra/workload-id/workload-identity-federation
 * @throws {TokenError}
 */
export async function workloadIdentity({ resource, clientId }: AzureIdentity, env: Environment): Promise<Token> {
  const [tenant, client, file] = [env.AZURE_TENANT_ID, clientId || env.AZURE_CLIENT_ID, env.AZURE_FEDERATED_TOKEN_FILE];
  if (!tenant || !client || !file)
    throw new TokenError('workload identity needs AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_FEDERATED_TOKEN_FILE');
  const assertion = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw new TokenError(`the federated token ${file} cannot be read: ${error.code}`);
  });
  const authority = (env.AZURE_AUTHORITY_HOST || 'https://login.microsoftonline.com').replace(/\/$/, '');
  const url = urlOf(`${authority}/${encodeURIComponent(tenant)}/oauth2/v2.0/token`, 'AZURE_AUTHORITY_HOST');
  const body = new URLSearchParams({
    grant_type: 'client_credentials',
    client_id: client,
    scope: `${resource.replace(/\/$/, '')}/.default`,
    client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
    client_assertion: assertion.trim(),
  });
  return tokenOf(await call(url, { method: 'POST', body }), 'Entra');
}

function urlOf(text: string | undefined, what: string): URL {
  const url = URL.parse(text ?? '');
  if (url?.protocol === 'http:' || url?.protocol === 'https:') return url;
  throw new TokenError(`${what} is no URL`);
}

async function call(url: URL, init: RequestInit): Promise<Answer> {
  try {
    const response = await fetch(url, { ...init, redirect: 'error', signal: AbortSignal.timeout(TIMEOUT_MS) });
    const text = await response.text();
    if (text.length > MAX_BYTES) throw new Error('the answer is too long');
    return { status: response.status, json: parsed(text) };
  } catch (error) {
    const { cause, message } = error as Error & { cause?: { code?: string } };
    throw new TokenError(`${url.origin} cannot be reached: ${cause?.code ?? message}`);
  }
}

const parsed = (text: string): Json => {
  try {
    const json: unknown = JSON.parse(text);
    return typeof json === 'object' && json !== null ? (json as Json) : {};
  } catch {
    return {};
  }
};

function tokenOf({ status, json }: Answer, who: string): Token {
  const { access_token: value, expires_on: on, expires_in: seconds, error, error_description: description } = json;
  if (status !== 200 || typeof value !== 'string')
    throw new TokenError(`${who} gave no token (status ${status})${error === undefined ? '' : `: ${description ?? error}`}`);
  const [at, left] = [Number(on), Number(seconds)];
  return { value, expiresAt: at > 0 ? at * 1000 : left > 0 ? Date.now() + left * 1000 : 0 };
}
