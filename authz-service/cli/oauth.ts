/** The OAuth that a command line needs: discovery, the device flow (RFC 8628), client credentials, refreshing. Knows no terminal. */
import { setTimeout as sleep } from 'node:timers/promises';
import { printable } from '../replay/printable.ts';
import { CommandError } from './command.ts';
import { isLoopback } from './place.ts';

const DEVICE_GRANT = 'urn:ietf:params:oauth:grant-type:device_code';
const TIMEOUT_MS = 15_000;
const MAX_BYTES = 256 * 1024;

export interface Tokens {
  readonly accessToken: string;
  /** Seconds; 0 when the issuer did not say. */
  readonly expiresIn: number;
  /** Empty when there is none. */
  readonly refreshToken: string;
}

export interface Endpoints {
  readonly token: string;
  /** Empty when the issuer has no device flow. */
  readonly device: string;
}

export interface Client {
  readonly id: string;
  /** Absent for a public client. */
  readonly secret?: string;
}

/** What may be asked of an issuer beside the grant itself. Empty: not sent. */
export interface Asked {
  readonly scope: string;
  /** RFC 8707. */
  readonly resource: string;
}

type Json = Readonly<Record<string, unknown>>;

/** Secrets go to `https`, or stay on this machine. */
function secure(url: string, what: string): string {
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  if (parsed?.protocol === 'https:' || (parsed?.protocol === 'http:' && isLoopback(parsed.hostname))) return url;
  throw new CommandError(`${what} is ${printable(url)}: tokens are only fetched over https, or from loopback`);
}

async function exchange(
  url: string,
  form?: Readonly<Record<string, string>>,
  authorization?: string,
): Promise<{ ok: boolean; status: number; json: Json }> {
  const response = await fetch(url, {
    redirect: 'error',
    signal: AbortSignal.timeout(TIMEOUT_MS),
    headers: { accept: 'application/json', ...(authorization && { authorization }) },
    ...(form && { method: 'POST', body: new URLSearchParams(form) }),
  }).catch((error: Error & { cause?: { code?: string; message?: string } }) => {
    throw new CommandError(`${new URL(url).origin} cannot be reached: ${error.cause?.code ?? error.cause?.message ?? error.message}`);
  });
  const body = await response.text();
  try {
    if (body.length > MAX_BYTES) throw new Error('too long');
    const json: unknown = JSON.parse(body);
    if (typeof json === 'object' && json !== null) return { ok: response.ok, status: response.status, json: json as Json };
  } catch {}
  throw new CommandError(`${new URL(url).origin} answered with status ${response.status} and no JSON`);
}

/** OpenID Connect Discovery 1.0, section 4. */
export async function discover(issuer: string): Promise<Endpoints> {
  const { ok, status, json } = await exchange(`${secure(issuer, 'The issuer').replace(/\/$/, '')}/.well-known/openid-configuration`);
  if (!ok) throw new CommandError(`${issuer} publishes no metadata (status ${status})`);
  if (json.issuer !== issuer) throw new CommandError(`${issuer} says that it is the issuer ${printable(String(json.issuer))}`);
  const { token_endpoint: token, device_authorization_endpoint: device } = json;
  return {
    token: secure(String(token), 'The token endpoint'),
    device: device === undefined ? '' : secure(String(device), 'The device endpoint'),
  };
}

/** RFC 6749, section 2.3.1: both parts are form-encoded first. */
const basic = ({ id, secret }: Client): string | undefined => {
  const encode = (part: string): string => new URLSearchParams([['', part]]).toString().slice(1);
  return secret === undefined ? undefined : `Basic ${Buffer.from(`${encode(id)}:${encode(secret)}`).toString('base64')}`;
};

const identification = (client: Client): Readonly<Record<string, string>> => (client.secret === undefined ? { client_id: client.id } : {});
const wishes = ({ scope, resource }: Asked): Readonly<Record<string, string>> => ({
  ...(scope && { scope }),
  ...(resource && { resource }),
});

function tokensOf({ access_token: accessToken, expires_in: expiresIn, refresh_token: refreshToken, token_type: type }: Json): Tokens {
  if (typeof accessToken !== 'string' || !/^bearer$/i.test(String(type)))
    throw new CommandError('The issuer answered without a bearer token');
  return {
    accessToken,
    expiresIn: typeof expiresIn === 'number' ? expiresIn : 0,
    refreshToken: typeof refreshToken === 'string' ? refreshToken : '',
  };
}

const refusal = ({ error, error_description: description }: Json): CommandError =>
  new CommandError(`The issuer refused: ${printable(description === undefined ? String(error) : `${error}: ${description}`)}`, 3);

async function grant({ token }: Endpoints, client: Client, form: Readonly<Record<string, string>>): Promise<Tokens> {
  const { ok, json } = await exchange(token, { ...form, ...identification(client) }, basic(client));
  if (!ok) throw refusal(json);
  return tokensOf(json);
}

/** RFC 6749, section 4.4. */
export const byClientCredentials = (endpoints: Endpoints, client: Client, asked: Asked): Promise<Tokens> =>
  grant(endpoints, client, { grant_type: 'client_credentials', ...wishes(asked) });

/** RFC 6749, section 6. */
export const byRefreshToken = (endpoints: Endpoints, client: Client, refreshToken: string): Promise<Tokens> =>
  grant(endpoints, client, { grant_type: 'refresh_token', refresh_token: refreshToken });

export interface DevicePrompt {
  readonly url: string;
  readonly code: string;
}

/** RFC 8628: `prompt` is shown to the user, who opens the URL in any browser, while this asks until they have decided. */
export async function byDevice(
  endpoints: Endpoints,
  client: Client,
  asked: Asked,
  prompt: (device: DevicePrompt) => void,
): Promise<Tokens> {
  if (endpoints.device === '')
    throw new CommandError('This issuer has no device flow: use --client ID, or --token - with a token from elsewhere');
  const { ok, json } = await exchange(endpoints.device, { ...identification(client), ...wishes(asked) }, basic(client));
  if (!ok) throw refusal(json);
  const { device_code: deviceCode, user_code: code, verification_uri: url, verification_uri_complete: complete } = json;
  prompt({ url: printable(String(complete ?? url)), code: printable(String(code)) });
  const ends = Date.now() + Number(json.expires_in ?? 600) * 1000;
  // Section 3.5: `slow_down` adds five seconds, for good.
  for (let seconds = Number(json.interval ?? 5); Date.now() < ends; ) {
    await sleep(seconds * 1000);
    const polled = await exchange(
      endpoints.token,
      { grant_type: DEVICE_GRANT, device_code: String(deviceCode), ...identification(client) },
      basic(client),
    );
    if (polled.ok) return tokensOf(polled.json);
    if (polled.json.error === 'slow_down') seconds += 5;
    else if (polled.json.error !== 'authorization_pending') throw refusal(polled.json);
  }
  throw new CommandError('Nobody logged in before the code expired', 3);
}
