/** A target that speaks SQL, as the session door sees it: its catalog, the analysis of texts under it, and where its sensitive columns are. */

import { type Catalog, type Relation, SensitiveColumns } from '../analysis/catalog.ts';
import { AnalysisError } from '../analysis/error.ts';
import type { Origin, SensitiveOrigins } from '../mask/command_plan.ts';
import { type Analysed, type Analysis, AnalysisFailure, type Database } from './ports.ts';

export interface Analyst {
  /** @throws {AnalysisError} */
  analyse(text: string, catalog: Catalog, sensitive: SensitiveColumns): Promise<Analysis>;
}

/** The catalog of one target. */
export interface CatalogSource {
  /** As it was last read, or read now. Rejects when it cannot be had. */
  catalog(): Promise<Catalog>;
  /** Read now, whatever is known. Rejects when it cannot be had. */
  refresh(): Promise<Catalog>;
}

export interface DatabaseParts extends Pick<Database, 'info' | 'name' | 'logIn'> {
  /** Patterns `schema.table.column`. */
  readonly sensitive: readonly string[];
  readonly analyst: Analyst;
  readonly source: CatalogSource;
}

export function createDatabase({ sensitive: patterns, analyst, source, ...rest }: DatabaseParts): Database {
  const own = new SensitiveColumns(patterns);
  const withOthers = new Map<string, SensitiveColumns>();
  const sensitiveTo = (others: readonly string[]): SensitiveColumns => {
    if (others.length === 0) return own;
    const key = JSON.stringify(others);
    let found = withOthers.get(key);
    if (!found) {
      if (withOthers.size >= MOST_KEPT) withOthers.clear();
      withOthers.set(key, (found = new SensitiveColumns([...patterns, ...others])));
    }
    return found;
  };
  const catalogOf = (read: Promise<Catalog>): Promise<Catalog> =>
    read.catch((error: unknown) => {
      throw new AnalysisFailure(
        'unavailable',
        `the catalog of the target cannot be read: ${error instanceof Error ? error.message : error}`,
      );
    });

  return {
    ...rest,
    async analyse(text, alsoSensitive = []): Promise<Analysed> {
      const catalog = await catalogOf(source.catalog());
      try {
        return { analysis: await analyst.analyse(text, catalog, sensitiveTo(alsoSensitive)), columns: originsIn(catalog) };
      } catch (error) {
        if (error instanceof AnalysisError) throw new AnalysisFailure(error.code, error.message);
        if (error instanceof RangeError) throw new AnalysisFailure('unsupported', error.message);
        throw error;
      }
    },
    refresh: async () => void (await catalogOf(source.refresh())),
    async covers(pattern) {
      if (patterns.includes(pattern)) return true;
      const columns = originsIn(await catalogOf(source.catalog()));
      const known = new Set(patterns.flatMap((one) => columns.of(one)).map(placeOf));
      return columns.of(pattern).every((origin) => known.has(placeOf(origin)));
    },
  };
}

const MOST_KEPT = 1000;
const placeOf = ({ table, attribute }: Origin): string => `${table} ${attribute}`;

const kept = new WeakMap<Catalog, SensitiveOrigins>();

/** Looked up once for each catalog: decisions name the same columns again and again. */
function originsIn(catalog: Catalog): SensitiveOrigins {
  let columns = kept.get(catalog);
  if (!columns) kept.set(catalog, (columns = new Origins(catalog)));
  return columns;
}

class Origins implements SensitiveOrigins {
  readonly #catalog: Catalog;
  readonly #ofPattern = new Map<string, readonly Origin[]>();
  readonly #throughViews = new Map<string, readonly Origin[]>();

  constructor(catalog: Catalog) {
    this.#catalog = catalog;
  }

  of(pattern: string): readonly Origin[] {
    return remembered(this.#ofPattern, pattern, () => this.#find(pattern));
  }

  throughViews(patterns: readonly string[]): readonly Origin[] {
    return remembered(this.#throughViews, JSON.stringify(patterns), () => this.#findViews(patterns));
  }

  #find(pattern: string): readonly Origin[] {
    // Of PostgreSQL's own, the columns that show values of others are among them always.
    const meant = new SensitiveColumns([pattern]);
    const found = new Map<string, Origin>();
    for (const relation of this.#catalog.relations)
      for (const { name } of relation.columns.filter((column) => meant.matches(relation.schema, relation.name, column.name)))
        for (const member of this.#catalog.family(relation))
          for (const column of member.columns)
            if (column.name === name) {
              const origin = { table: member.oid, attribute: column.attribute };
              found.set(placeOf(origin), origin);
            }
    return [...found.values()];
  }

  /** A view whose definition has the name of such a table, or of such a view: more than are meant, and never less. */
  #findViews(patterns: readonly string[]): readonly Origin[] {
    const { relations } = this.#catalog;
    const holding = new Set(patterns.flatMap((pattern) => this.of(pattern)).map(({ table }) => table));
    const names = new Set(relations.filter(({ oid }) => holding.has(oid)).map(({ name }) => name));
    const views = new Set<Relation>();
    for (let before = -1; before < views.size; ) {
      before = views.size;
      for (const relation of relations) {
        if (relation.definition === undefined || views.has(relation)) continue;
        if (![...names].some((name) => relation.definition?.includes(name.replaceAll('"', '""')))) continue;
        views.add(relation);
        names.add(relation.name);
      }
    }
    return [...views].flatMap(({ oid, columns }) => columns.map(({ attribute }) => ({ table: oid, attribute })));
  }
}

function remembered<T>(known: Map<string, T>, key: string, make: () => T): T {
  let value = known.get(key);
  if (value === undefined) {
    if (known.size >= MOST_KEPT) known.clear();
    known.set(key, (value = make()));
  }
  return value;
}
