import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type AwsCredentials, ambientIdentity, writtenIdentity } from './aws_credentials.ts';
import { caller } from './call.ts';

type Reply = readonly [status: number, body: string];

let server: Server;
let place: string;
let replies: Record<string, Reply>;
let seen: { path: string; headers: Record<string, unknown>; body: string }[];
let now: number;
const call = caller({ attempts: 2, firstWaitMs: 1, timeoutMs: 500 });
const directory = mkdtempSync(join(tmpdir(), 'sluice-aws-'));

beforeEach(async () => {
  [replies, seen, now] = [{}, [], Date.now()];
  server = createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request) body += chunk;
    seen.push({ path: `${request.method} ${request.url}`, headers: request.headers, body });
    const [status, text] = replies[`${request.method} ${request.url}`] ?? [404, ''];
    response.writeHead(status).end(text);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  place = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});

afterEach(async () => {
  server.closeAllConnections();
  server.close();
  rmSync(join(directory, 'token'), { force: true });
});

const given = (minutes: number, id = 'ASIA1'): Reply => [
  200,
  JSON.stringify({ AccessKeyId: id, SecretAccessKey: 'sk', Token: 'tk', Expiration: new Date(now + minutes * 60_000).toISOString() }),
];
const shown = ({ accessKeyId, secretAccessKey, sessionToken }: AwsCredentials): string[] => [
  accessKeyId,
  secretAccessKey.reveal(),
  sessionToken?.reveal() ?? '',
];
const ambient = (env: Record<string, string>) => ambientIdentity(call, env, 'eu-test-1', () => now);

describe('credentials of AWS', () => {
  it('are written down, and read from where the secret is', async () => {
    const found = await writtenIdentity('AKIA1', { read: () => ({ secret: { reveal: () => 'sk' } as never }) }).credentials();
    expect(shown(found)).toEqual(['AKIA1', 'sk', '']);
    await expect(
      writtenIdentity('AKIA1', { read: () => ({ error: { code: 'secret_missing', message: 'not set' } }) }).credentials(),
    ).rejects.toMatchObject({ code: 'forbidden' });
  });

  it('stand in the environment', async () => {
    const env = { AWS_ACCESS_KEY_ID: 'AKIA2', AWS_SECRET_ACCESS_KEY: 'sk', AWS_SESSION_TOKEN: 'tk' };
    expect(shown(await ambient(env).credentials())).toEqual(['AKIA2', 'sk', 'tk']);
  });

  it("come of a container's endpoint, with the token that is in a file", async () => {
    replies['GET /creds'] = given(60);
    writeFileSync(join(directory, 'token'), 'pod-token\n');
    const env = { AWS_CONTAINER_CREDENTIALS_FULL_URI: `${place}/creds`, AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: join(directory, 'token') };
    expect(shown(await ambient(env).credentials())).toEqual(['ASIA1', 'sk', 'tk']);
    expect(seen[0]?.headers.authorization).toBe('pod-token');
  });

  it('come of a web identity', async () => {
    const ends = new Date(now + 3_600_000).toISOString();
    replies['POST /'] = [
      200,
      `<A><Credentials><AccessKeyId>ASIA3</AccessKeyId><SecretAccessKey>s&amp;k</SecretAccessKey><SessionToken>tk</SessionToken><Expiration>${ends}</Expiration></Credentials></A>`,
    ];
    writeFileSync(join(directory, 'token'), 'a.b.c');
    const env = {
      AWS_WEB_IDENTITY_TOKEN_FILE: join(directory, 'token'),
      AWS_ROLE_ARN: 'arn:aws:iam::1:role/log',
      AWS_ENDPOINT_URL_STS: place,
    };
    expect(shown(await ambient(env).credentials())).toEqual(['ASIA3', 's&k', 'tk']);
    expect(Object.fromEntries(new URLSearchParams(seen[0]?.body))).toMatchObject({
      Action: 'AssumeRoleWithWebIdentity',
      RoleArn: 'arn:aws:iam::1:role/log',
      WebIdentityToken: 'a.b.c',
    });
  });

  const imds = (): { AWS_EC2_METADATA_SERVICE_ENDPOINT: string } => {
    replies['PUT /latest/api/token'] = [200, 'imds-token'];
    replies['GET /latest/meta-data/iam/security-credentials/'] = [200, 'log-writer'];
    replies['GET /latest/meta-data/iam/security-credentials/log-writer'] = given(60);
    return { AWS_EC2_METADATA_SERVICE_ENDPOINT: place };
  };

  it('come of the instance metadata service, asked in its second version', async () => {
    expect(shown(await ambient(imds()).credentials())).toEqual(['ASIA1', 'sk', 'tk']);
    expect(seen.slice(1).map(({ headers }) => headers['x-aws-ec2-metadata-token'])).toEqual(['imds-token', 'imds-token']);
  });

  it('are kept until shortly before they end, and beyond a provider that is away', async () => {
    const identity = ambient(imds());
    await Promise.all([identity.credentials(), identity.credentials()]);
    expect(seen).toHaveLength(3);
    now += 54 * 60_000;
    await identity.credentials();
    expect(seen).toHaveLength(3);
    now += 2 * 60_000;
    replies = {};
    expect(shown(await identity.credentials())[0]).toBe('ASIA1');
    now += 10 * 60_000;
    await expect(identity.credentials()).rejects.toMatchObject({ code: 'forbidden' });
  });

  it('are fetched anew when the store did not take them', async () => {
    const identity = ambient(imds());
    await identity.credentials();
    replies['GET /latest/meta-data/iam/security-credentials/log-writer'] = given(60, 'ASIA9');
    identity.forget();
    expect(shown(await identity.credentials())[0]).toBe('ASIA9');
  });

  it.each<Reply>([
    [200, ''],
    [200, '[]'],
    [200, '{"AccessKeyId":"a"}'],
    [200, '{"AccessKeyId":"a","SecretAccessKey":"b","Expiration":"soon"}'],
    [403, '{}'],
    [200, 'null'],
  ])('are none when a provider says %j', async (status, body) => {
    replies['GET /creds'] = [status, body];
    await expect(ambient({ AWS_CONTAINER_CREDENTIALS_FULL_URI: `${place}/creds` }).credentials()).rejects.toMatchObject({
      code: 'forbidden',
    });
  });

  it('are none without any provider', async () => {
    await expect(ambient({ AWS_EC2_METADATA_DISABLED: 'true' }).credentials()).rejects.toMatchObject({ code: 'forbidden' });
    await expect(ambient({ AWS_CONTAINER_CREDENTIALS_FULL_URI: 'file:///etc/passwd' }).credentials()).rejects.toMatchObject({
      code: 'forbidden',
    });
  });
});
