/** Keeps the catalog of one target at hand: read when it is first needed, again when it is old, and after statements that change it. */
import pg from 'pg';
import type { Catalog } from '../analysis/catalog.ts';
import { readCatalog } from './reader.ts';

export interface CatalogSource {
  /** @returns the catalog, not older than the limit @throws {CatalogError} when there is none to be had */
  catalog(): Promise<Catalog>;
  /** After a statement that may have changed it: nobody is given an older one from now on. @throws {CatalogError} when there is none to be had */
  refresh(): Promise<Catalog>;
  close(): void;
}

export class CatalogError extends Error {
  override readonly name = 'CatalogError';
}

export interface CatalogSourceOptions {
  /** Host, port, database, user, password and TLS of the target; asked for each reading, so that a rotated credential is used. */
  readonly connection: () => Promise<pg.ClientConfig> | pg.ClientConfig;
  /** Milliseconds after which it is read again, in the background; 60,000 by default. */
  readonly refreshMs?: number;
  /** Milliseconds after which an older one is not used any more, when it cannot be read again; 300,000 by default. */
  readonly oldestMs?: number;
  readonly onError?: (error: Error) => void;
  /** Another reader: for tests. */
  readonly read?: () => Promise<Catalog>;
}

const REFRESH_MS = 60_000;
const OLDEST_MS = 300_000;
/** What could not be read for a lock is looked for again. */
const PARTIAL_MS = 1_000;
const CONNECT_MS = 5_000;
const LOCK_NOT_AVAILABLE = '55P03';
const LOCKED = 'another transaction has just locked what it describes; send the statement again';
/** After a failure, so that each statement does not try for itself. */
const PAUSE_MS = 1_000;

export function createCatalogSource(options: CatalogSourceOptions): CatalogSource {
  return new Source(options);
}

class Source implements CatalogSource {
  readonly #options: CatalogSourceOptions;
  #catalog: Catalog | undefined;
  #readAt = Number.NEGATIVE_INFINITY;
  #failedAt = Number.NEGATIVE_INFINITY;
  #reading: Promise<Catalog> | undefined;
  /** Counts what made the catalog stale: a reading that began before does not settle it. */
  #changes = 0;
  #seen = -1;
  #closed = false;

  constructor(options: CatalogSourceOptions) {
    this.#options = options;
  }

  async catalog(): Promise<Catalog> {
    if (this.#closed) throw new CatalogError('the catalog is not read any more');
    const age = performance.now() - this.#readAt;
    const catalog = this.#seen === this.#changes ? this.#catalog : undefined;
    const fresh = catalog?.partial ? PARTIAL_MS : (this.#options.refreshMs ?? REFRESH_MS);
    if (catalog && age < fresh) return catalog;
    if (catalog && age < (this.#options.oldestMs ?? OLDEST_MS)) {
      this.#renew().catch(() => {});
      return catalog;
    }
    // A reading that began before the change that is to be seen shows the old state: wait for it, and read again.
    const wanted = this.#changes;
    let read = await this.#renew();
    if (this.#seen < wanted) read = await this.#renew();
    return read;
  }

  refresh(): Promise<Catalog> {
    this.#changes++;
    return this.catalog();
  }

  close(): void {
    this.#closed = true;
  }

  #renew(): Promise<Catalog> {
    if (!this.#reading && performance.now() - this.#failedAt < PAUSE_MS) {
      return Promise.reject(new CatalogError('the catalog of the target could not be read'));
    }
    this.#reading ??= this.#read().finally(() => (this.#reading = undefined));
    return this.#reading;
  }

  async #read(): Promise<Catalog> {
    const began = this.#changes;
    try {
      const catalog = await (this.#options.read?.() ?? this.#readFromTarget());
      this.#catalog = catalog;
      this.#readAt = performance.now();
      this.#seen = began;
      return catalog;
    } catch (error) {
      this.#failedAt = performance.now();
      this.#options.onError?.(error instanceof Error ? error : new Error(String(error)));
      const locked = (error as { code?: string }).code === LOCK_NOT_AVAILABLE;
      throw new CatalogError(`the catalog of the target could not be read${locked ? `: ${LOCKED}` : ''}`, { cause: error });
    }
  }

  async #readFromTarget(): Promise<Catalog> {
    const client = new pg.Client({
      application_name: 'sluice catalog',
      connectionTimeoutMillis: CONNECT_MS,
      ...(await this.#options.connection()),
    });
    client.on('error', () => {});
    try {
      await client.connect();
      return await readCatalog(client);
    } finally {
      await client.end().catch(() => {});
    }
  }
}
