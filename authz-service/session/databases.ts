/** The databases of the configuration: replaced as a whole when it changes, each with its catalog for as long as it stays the same. */
import { readFileSync } from 'node:fs';
import type { ClientConfig } from 'pg';
import { type CatalogSource, createCatalogSource } from '../catalog/catalogs.ts';
import type { PostgresTarget } from '../config/config.ts';
import { type Analyst, createDatabase } from './database.ts';
import type { Database } from './ports.ts';

export interface DatabasesParts {
  readonly analyst: Analyst;
  readonly logIn: (target: string, credential: string) => ReturnType<Database['logIn']>;
  /** Told when the catalog of a target cannot be read. */
  readonly onError: (target: string, error: Error) => void;
  /** Told when a catalog says something else than it did. */
  readonly onChanged: () => void;
}

/** Statements that are only executed again ask for no catalog, and rest on it. */
const LOOK_EVERY_MS = 5_000;

export class Databases {
  readonly #parts: DatabasesParts;
  readonly #looking: NodeJS.Timeout;
  #known = new Map<string, { readonly of: string; readonly database: Database; readonly source: CatalogSource }>();

  constructor(parts: DatabasesParts, targets: readonly PostgresTarget[]) {
    this.#parts = parts;
    this.replace(targets);
    this.#looking = setInterval(() => {
      // Whoever needs it is told that it cannot be read.
      for (const { database } of this.#known.values()) database.keepCurrent().catch(() => {});
    }, LOOK_EVERY_MS).unref();
  }

  get(name: string): Database | undefined {
    return this.#known.get(name)?.database;
  }

  replace(targets: readonly PostgresTarget[]): void {
    const before = this.#known;
    this.#known = new Map(
      targets.map((target) => {
        const of = JSON.stringify(target);
        const known = before.get(target.name);
        return [target.name, known?.of === of ? known : { of, ...this.#make(target) }];
      }),
    );
    for (const [name, { source }] of before) if (this.#known.get(name)?.source !== source) source.close();
  }

  close(): void {
    clearInterval(this.#looking);
    for (const { source } of this.#known.values()) source.close();
  }

  #make(target: PostgresTarget): { readonly database: Database; readonly source: CatalogSource } {
    const { analyst, logIn, onError, onChanged } = this.#parts;
    const { name, protocol, labels, database, sensitive } = target;
    const source = createCatalogSource({
      connection: () => connectionTo(target, logIn(name, '')),
      onError: (error) => onError(name, error),
    });
    return {
      source,
      database: createDatabase({
        info: { name, protocol, labels, sensitive },
        name: database,
        sensitive,
        analyst,
        source,
        onChanged,
        logIn: (credential) => logIn(name, credential),
      }),
    };
  }
}

/** As Envoy connects: in the clear, or by TLS from the first byte. */
function connectionTo({ url, database, tls }: PostgresTarget, { username: user, password }: ReturnType<Database['logIn']>): ClientConfig {
  const read = (file: string | undefined): string | undefined => (file === undefined ? undefined : readFileSync(file, 'utf8'));
  const to = { host: url.host, port: url.port, database, user, password };
  if (!tls) return to;
  const { ca, certificate: cert, key } = { ca: read(tls.ca), certificate: read(tls.certificate), key: read(tls.key) };
  return {
    ...to,
    sslnegotiation: 'direct',
    ssl: {
      servername: tls.serverName ?? url.host,
      ALPNProtocols: ['postgresql'],
      ...(ca && { ca }),
      ...(cert && { cert }),
      ...(key && { key }),
    },
  } as ClientConfig;
}
