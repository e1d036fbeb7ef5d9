/** A catalog with what is known to be sensitive in it: for each relation, what its columns come of. */
import type { Catalog, Relation, SensitiveColumns } from './catalog.ts';
import { SYSTEM_SCHEMAS } from './catalog.ts';
import { type ColumnId, type Flow, isSensitive, ofColumns, UNKNOWN, union } from './flow.ts';

/** What reading a relation amounts to. */
export interface Described {
  /** One for each column of the relation, in order: itself, and what its view or generated column computes it from. */
  readonly flows: readonly Flow[];
  /** What the definition of a view reads, calls, and hides. */
  readonly reads: readonly Relation[];
  readonly functions: readonly string[];
  readonly incomplete: readonly string[];
}

/** Analyses what stands in a definition. */
export interface Definitions {
  view(definition: string, relation: Relation): Omit<Described, 'flows'> & { readonly flows: readonly Flow[] | undefined };
  generated(expression: string, relation: Relation): Flow;
}

export class Model {
  readonly catalog: Catalog;
  readonly #sensitive: SensitiveColumns;
  readonly #definitions: Definitions;
  readonly #ids = new Map<string, ColumnId>();
  #names: ReadonlySet<string> | undefined;
  readonly #described = new Map<Relation, Described | 'in progress'>();

  constructor(catalog: Catalog, sensitive: SensitiveColumns, definitions: (model: Model) => Definitions) {
    this.catalog = catalog;
    this.#sensitive = sensitive;
    this.#definitions = definitions(this);
  }

  /** The column by itself. A table shares its sensitive columns with its partitions and with what it inherits from. */
  id(relation: Relation, column: string, below?: Flow): ColumnId {
    const key = `${relation.oid} ${column}`;
    const known = this.#ids.get(key);
    if (known) return known;
    const sensitive =
      (below !== undefined && isSensitive(below)) ||
      this.catalog.family(relation).some((member) => this.#sensitive.matches(member.schema, member.name, column));
    const id: ColumnId = { schema: relation.schema, table: relation.name, column, sensitive };
    this.#ids.set(key, id);
    return id;
  }

  /** Whether a column would be sensitive by its name alone, in a table that may not be there yet. */
  wouldBe(schema: string, table: string, column: string): boolean {
    const schemas = schema === '' ? [...this.catalog.data.searchPath, 'pg_temp'] : [schema];
    return schemas.some((of) => this.#sensitive.matches(of, table, column));
  }

  /** Names in lower case of columns that are sensitive by a pattern. */
  get sensitiveNames(): ReadonlySet<string> {
    this.#names ??= new Set(
      this.catalog.relations.flatMap(({ schema, name, columns }) =>
        SYSTEM_SCHEMAS.has(schema)
          ? []
          : columns.filter((column) => this.#sensitive.matches(schema, name, column.name)).map((column) => column.name.toLowerCase()),
      ),
    );
    return this.#names;
  }

  describe(relation: Relation): Described {
    const known = this.#described.get(relation);
    if (known === 'in progress')
      return { flows: relation.columns.map(() => UNKNOWN), reads: [], functions: [], incomplete: ['a view reads itself'] };
    if (known) return known;
    this.#described.set(relation, 'in progress');
    const described = this.#describe(relation);
    this.#described.set(relation, described);
    return described;
  }

  /** Every column whose values are or may be sensitive, as RowDescription names it. */
  origins(): Origin[] {
    return this.catalog.relations.flatMap((relation) => {
      const { flows } = this.describe(relation);
      return relation.columns.flatMap(({ attribute, name }, i) => {
        const flow = flows[i] ?? UNKNOWN;
        if (!isSensitive(flow)) return [];
        return [{ oid: relation.oid, attribute, column: fieldName(this.id(relation, name)), fields: fieldsOf(flow) }];
      });
    });
  }

  #describe(relation: Relation): Described {
    // What PostgreSQL's own views show comes of its own tables; the columns that hold values of others are listed by name.
    if (relation.definition === undefined || SYSTEM_SCHEMAS.has(relation.schema)) {
      const flows = relation.columns.map(({ name, generated }) => {
        const below = generated === undefined ? undefined : this.#definitions.generated(generated, relation);
        const own = ofColumns(this.id(relation, name, below));
        return below ? union([own, below]) : own;
      });
      return { flows, reads: [], functions: [], incomplete: [] };
    }
    const view = this.#definitions.view(relation.definition, relation);
    const flows = relation.columns.map(({ name }, i) => {
      const below = view.flows?.length === relation.columns.length ? (view.flows[i] ?? UNKNOWN) : UNKNOWN;
      return union([ofColumns(this.id(relation, name, below)), below]);
    });
    return { ...view, flows };
  }
}

/** A sensitive column as the server tells of it. */
export interface Origin {
  /** The oid of the table or view. */
  readonly oid: number;
  readonly attribute: number;
  /** `schema.table.column` of the column itself. */
  readonly column: string;
  /** Of the sensitive columns that its value comes of, itself included where it is one; empty where that is not known. */
  readonly fields: readonly string[];
}

export const fieldName = (id: ColumnId): string => `${id.schema}.${id.table}.${id.column}`;

export const fieldsOf = (flow: Flow): string[] => [...flow.columns].filter((column) => column.sensitive).map(fieldName);
