/** A target that speaks SQL, as the session door sees it: its catalog, the analysis of texts under it, and where its sensitive columns are. */
import { hash } from 'node:crypto';
import type { Prepared } from '../analysis/analyse.ts';
import { type Catalog, type Relation, SensitiveColumns } from '../analysis/catalog.ts';
import { AnalysisError } from '../analysis/error.ts';
import type { Origin, SensitiveOrigin, SensitiveOrigins } from '../mask/command_plan.ts';
import { type Analysed, type Analysis, AnalysisFailure, type Database } from './ports.ts';

export interface Analyst {
  /** @throws {AnalysisError} */
  analyse(text: string, catalog: Catalog, sensitive: SensitiveColumns, prepared?: Prepared): Promise<Analysis>;
  /** Every column whose values are or may be sensitive, and the columns that they come of, as `schema.table.column`. @throws {AnalysisError} */
  origins(
    catalog: Catalog,
    sensitive: SensitiveColumns,
  ): Promise<readonly { readonly oid: number; readonly attribute: number; readonly column: string; readonly fields: readonly string[] }[]>;
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
  /** Told when the catalog says something else than it did, before anything is judged by it. */
  readonly onChanged?: () => void;
}

export function createDatabase({ sensitive: patterns, analyst, source, onChanged = () => {}, ...rest }: DatabaseParts): Database {
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
  /** Agents send the same text again and again: what it does stays the same under the same catalog. */
  const analyses = new WeakMap<Catalog, WeakMap<SensitiveColumns, Map<string, Promise<Analysis>>>>();
  const analysisOf = (text: string, catalog: Catalog, sensitive: SensitiveColumns, prepared?: Prepared): Promise<Analysis> => {
    // No text has a zero byte.
    const key = prepared ? `\0${JSON.stringify([text, ...prepared])}` : text;
    if (key.length > LONGEST_KEPT) return analyst.analyse(text, catalog, sensitive, prepared);
    let of = analyses.get(catalog);
    if (!of) analyses.set(catalog, (of = new WeakMap()));
    let known = of.get(sensitive);
    if (!known) of.set(sensitive, (known = new Map()));
    let found = known.get(key);
    if (!found) {
      if (known.size >= MOST_KEPT) known.delete(known.keys().next().value ?? '');
      found = analyst.analyse(text, catalog, sensitive, prepared);
      known.set(key, found);
      // A busy machine does not make a text one that cannot be analysed.
      found.catch(() => known.delete(key));
    }
    return found;
  };
  let latest: Catalog | undefined;
  let digest = '';
  const catalogOf = async (read: Promise<Catalog>): Promise<Catalog> => {
    const catalog = await read.catch((error: unknown) => {
      throw new AnalysisFailure(
        'unavailable',
        `the catalog of the target cannot be read: ${error instanceof Error ? error.message : error}`,
      );
    });
    if (catalog === latest) return catalog;
    const [before, now] = [digest, hash('sha256', JSON.stringify(catalog.data))];
    latest = catalog;
    digest = now;
    if (before !== '' && before !== now) onChanged();
    return catalog;
  };

  const kept = new WeakMap<Catalog, SensitiveOrigins>();
  const originsIn = (catalog: Catalog): SensitiveOrigins => {
    let columns = kept.get(catalog);
    if (!columns) {
      columns = new Origins(catalog, analyst);
      kept.set(catalog, columns);
    }
    return columns;
  };

  return {
    ...rest,
    async analyse(text, alsoSensitive = [], prepared): Promise<Analysed> {
      const catalog = await catalogOf(source.catalog());
      try {
        return { analysis: await analysisOf(text, catalog, sensitiveTo(alsoSensitive), prepared), columns: originsIn(catalog) };
      } catch (error) {
        if (error instanceof AnalysisError) throw new AnalysisFailure(error.code, error.message);
        if (error instanceof RangeError) throw new AnalysisFailure('unsupported', error.message);
        throw error;
      }
    },
    refresh: async () => void (await catalogOf(source.refresh())),
    async keepCurrent() {
      if (latest) await catalogOf(source.catalog());
    },
    async covers(pattern) {
      if (patterns.includes(pattern)) return true;
      const columns = originsIn(await catalogOf(source.catalog()));
      const known = new Set((await columns.of(patterns)).map(placeOf));
      return (await columns.of([pattern])).every((origin) => known.has(placeOf(origin)));
    },
  };
}

const MOST_KEPT = 1000;
/** Characters of a text whose analysis is kept. */
const LONGEST_KEPT = 2_000;
const placeOf = ({ table, attribute }: Origin): string => `${table} ${attribute}`;

/** Asked once for each catalog: decisions name the same columns again and again. */
class Origins implements SensitiveOrigins {
  readonly #catalog: Catalog;
  readonly #analyst: Analyst;
  readonly #known = new Map<string, Promise<readonly SensitiveOrigin[]>>();

  constructor(catalog: Catalog, analyst: Analyst) {
    this.#catalog = catalog;
    this.#analyst = analyst;
  }

  of(patterns: readonly string[]): Promise<readonly SensitiveOrigin[]> {
    const key = JSON.stringify(patterns);
    let found = this.#known.get(key);
    if (!found) {
      if (this.#known.size >= MOST_KEPT) this.#known.clear();
      found = this.#find(patterns);
      this.#known.set(key, found);
      found.catch(() => this.#known.delete(key));
    }
    return found;
  }

  async #find(patterns: readonly string[]): Promise<readonly SensitiveOrigin[]> {
    const [meaning, tables] = [patterns.map((pattern) => new SensitiveColumns([pattern])), new Map<string, Relation>()];
    for (const relation of this.#catalog.relations) tables.set(`${relation.schema}.${relation.name}`, relation);
    const means = (pattern: SensitiveColumns, field: string): boolean => {
      const [, table = '', column = ''] = /^(.*)\.([^.]*)$/s.exec(field) ?? [];
      const relation = tables.get(table);
      return relation !== undefined && this.#catalog.family(relation).some(({ schema, name }) => pattern.matches(schema, name, column));
    };
    const origins = await this.#analyst.origins(this.#catalog, new SensitiveColumns(patterns));
    return origins.map(({ oid, attribute, column: itself, fields }) => {
      const named = fields
        .map((field) => ({ field, at: meaning.findIndex((pattern) => means(pattern, field)) }))
        // A view's column is sensitive by what it comes of.
        .filter(({ field, at }) => at >= 0 || field !== itself)
        .map(({ at }) => at);
      const [first = -1] = named;
      const relation = this.#catalog.byOid(oid);
      return {
        table: oid,
        attribute,
        pattern: named.every((one) => one === first) ? first : -1,
        derived:
          relation?.definition !== undefined || relation?.columns.find((column) => column.attribute === attribute)?.generated !== undefined,
      };
    });
  }
}
