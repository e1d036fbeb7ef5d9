/** The secrets and certificates of a destination: read where the configuration says, when they are needed, never kept in it. */
import { readFileSync } from 'node:fs';
import { isError, type SecretSource, secretReader } from '../credential/secret_source.ts';

/** Headers with their secrets, as of now. Throws, with a message that names the source and no value, when one cannot be had. */
export type Credential = () => Readonly<Record<string, string>>;

/** What TLS needs, read anew for each connection. Throws as `Credential` does. */
export type TlsFiles = () => { readonly ca?: Buffer; readonly cert?: Buffer; readonly key?: Buffer; readonly servername?: string };

/** Value of a header: what stands before the secret, and where that is. */
export interface SecretHeader {
  readonly prefix: string;
  readonly source: SecretSource;
  /** With a user name, the value is that of basic authentication. */
  readonly username?: string;
}

export function credential(headers: Readonly<Record<string, SecretHeader>>): Credential {
  const readers = Object.entries(headers).map(([name, { prefix, source, username }]) => {
    const reader = secretReader(source, { env: process.env, now: Date.now });
    return (): readonly [string, string] => {
      const outcome = reader.read();
      if (isError(outcome)) throw new Error(outcome.error.message);
      const secret = outcome.secret.reveal();
      return [name, username === undefined ? `${prefix}${secret}` : `Basic ${Buffer.from(`${username}:${secret}`).toString('base64')}`];
    };
  });
  return () => Object.fromEntries(readers.map((read) => read()));
}

export interface TlsConfig {
  readonly ca?: string | undefined;
  readonly certificate?: string | undefined;
  readonly key?: string | undefined;
  readonly serverName?: string | undefined;
}

export const tlsFiles =
  ({ ca, certificate, key, serverName }: TlsConfig = {}): TlsFiles =>
  () => ({
    ...(ca !== undefined && { ca: readFileSync(ca) }),
    ...(certificate !== undefined && { cert: readFileSync(certificate) }),
    ...(key !== undefined && { key: readFileSync(key) }),
    ...(serverName !== undefined && { servername: serverName }),
  });
