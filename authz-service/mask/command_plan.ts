/** Obligations of a decision on SQL → what the filter does with the command's results (`sluice.session.v1.CommandPlan`). */
import { hash } from 'node:crypto';
import type { Obligation } from '../decision/decision.ts';
import { type LimitsOf, type MaskingTerms, ObligationError, TargetKeys } from './plan.ts';
import { RECORD_RULES } from './rule.ts';

/** What the analysis found of a text's results. */
export interface ResultFacts {
  /** Each column of the one result, or undefined where that is not known, or where there are several. `origin`: the server says where it is from. */
  readonly result: readonly ('origin' | 'clear' | 'sensitive')[] | undefined;
  /** It reads a table that holds a sensitive column, or may. */
  readonly touchesSensitive: boolean;
  /** It moves sensitive values into columns that are not: without `result` the origins of its columns prove nothing. */
  readonly copies: boolean;
  readonly copyOut: CopyFacts | undefined;
  readonly statements: number;
  /** It reads something that the catalog does not know, so an origin that is not known proves nothing. */
  readonly unknownReads: boolean;
  readonly complete: boolean;
  readonly writes: boolean;
}

export interface CopyFacts {
  readonly format: 'text' | 'csv' | 'binary';
  readonly columns: readonly ('clear' | 'sensitive')[] | undefined;
  readonly delimiter?: string | undefined;
  readonly quote?: string | undefined;
  readonly escape?: string | undefined;
  readonly nullText?: string | undefined;
}

export interface Origin {
  /** The table's OID and the column's number. */
  readonly table: number;
  readonly attribute: number;
}

/** As protobufjs takes them; names and numbers are the protocol's. */
export interface PlannedRule {
  readonly id: string;
  readonly method: number;
  readonly keepFirst: number;
  readonly keepLast: number;
  readonly key?: Uint8Array;
}

export interface PlannedOrigin extends Origin {
  readonly rule: PlannedRule;
}

export interface CommandPlan {
  readonly origins: readonly PlannedOrigin[];
  /** Digest of `origins`; empty where there are none. */
  readonly originsId: Uint8Array;
  readonly unproven?: PlannedRule;
  readonly clearPositions: readonly number[];
  readonly positions: readonly { readonly position: number; readonly rule: PlannedRule }[];
  readonly maskMessages: boolean;
  readonly copyOut: CopyPlan | undefined;
  /** Left out: no payload is recorded. */
  readonly record?: { readonly maxRequest: number; readonly maxResponse: number; readonly ownRules: readonly PlannedSelection[] };
}

/** A rule with what selects by content or name. */
export type PlannedSelection = PlannedRule & { readonly path?: string; readonly detector?: string };

interface CopyPlan {
  readonly format: number;
  readonly columns: readonly Partial<PlannedRule>[];
  readonly delimiter: Uint8Array;
  readonly quote: Uint8Array;
  readonly escape: Uint8Array;
  readonly nullText: Uint8Array;
}

const METHOD = { full: 1, partial: 2, hash: 3, null: 4, drop: 5 } as const;
const FORMAT = { text: 1, csv: 2 } as const;

/**
 * Columns without an origin that may hold something sensitive: of what, nobody knows, so nothing of it is shown, neither how long it is nor whether it is
 * NULL: an expression can make these tell.
 */
const UNPROVEN: PlannedRule = { id: 'unproven', method: METHOD.null, keepFirst: 0, keepLast: 0 };
/** COPY tells no origins. What is copied is a column as it stands; the analysis calls any expression over one a condition. */
const COPIED: PlannedRule = { id: 'unproven', method: METHOD.full, keepFirst: 0, keepLast: 0 };
const PASSES: Partial<PlannedRule> = { id: '' };

/** For rows that are copied in: these are a text, which the gateway's own detectors search. */
const COPIED_IN = RECORD_RULES.flatMap(({ id, select, method, keepFirst, keepLast }): PlannedSelection[] =>
  'detector' in select ? [{ id, detector: select.detector, method: METHOD[method], keepFirst, keepLast }] : [],
);

export type CommandPlanner = (
  target: string,
  obligations: readonly Obligation[],
  facts: ResultFacts,
  columns: SensitiveOrigins,
) => Promise<CommandPlan>;

/** Where sensitive columns are in the target's catalog. */
export interface SensitiveOrigins {
  /**
   * The columns whose values come of those that patterns `schema.table.column` mean, also through views, partitions and inheritance.
   * Rejects when that cannot be told.
   */
  of(patterns: readonly string[]): Promise<readonly SensitiveOrigin[]>;
}

export interface SensitiveOrigin extends Origin {
  /** The first of the patterns that means it; -1: its values come of what several mean, or nobody knows which. */
  readonly pattern: number;
  /** It may be an expression: a view's. */
  readonly derived: boolean;
}

/** @returns a function that throws an `ObligationError` rather than leave an obligation out */
export function commandPlanner(terms: Pick<MaskingTerms, 'key'>, limitsOf: LimitsOf): CommandPlanner {
  const kept = new KeptOrigins(new TargetKeys(terms.key));
  return async (target, obligations, facts, columns) => {
    const masks = obligations.filter((obligation) => obligation.type === 'mask');
    if (obligations.some(({ type }) => type === 'detect'))
      throw new ObligationError('unsupported', 'the policy asks for detectors, which results of SQL are not searched by');
    const recorded = obligations.some(({ type }) => type === 'record') && {
      record: {
        maxRequest: limitsOf(target).maxRequestBytes,
        maxResponse: limitsOf(target).maxResponseBytes,
        // Which columns the values of a row that is copied in are for is not told to the filter: where columns are masked, none of it is recorded.
        ownRules: masks.length === 0 ? COPIED_IN : [],
      },
    };
    if (masks.length === 0) return { ...NOTHING, copyOut: facts.copyOut && passing(facts.copyOut), ...recorded };

    const { origins, originsId } = await kept.of(target, obligations, columns);

    const suspect = facts.touchesSensitive || !facts.complete || facts.unknownReads;
    if (facts.unknownReads)
      throw new ObligationError(
        'unsupported',
        'it reads a relation that the gateway does not know, so what must be masked in it cannot be known',
      );
    if (facts.statements > 1 && suspect && facts.result === undefined)
      throw new ObligationError(
        'unsupported',
        'of several statements in one string it is not known which of their columns are sensitive: send them one by one',
      );

    if (facts.copies && facts.result === undefined)
      throw new ObligationError(
        'unsupported',
        'it copies sensitive values into other columns, and which of them come back is not known: leave out RETURNING, or name its columns',
      );

    const { result } = facts;
    return {
      origins,
      originsId,
      ...(suspect && { unproven: UNPROVEN }),
      clearPositions: places(result, 'clear'),
      positions: places(result, 'sensitive').map((position) => ({ position, rule: UNPROVEN })),
      maskMessages: suspect || facts.writes,
      copyOut: facts.copyOut && (suspect ? masking(facts.copyOut) : passing(facts.copyOut)),
      ...recorded,
    };
  };
}

type NamedOrigins = Pick<CommandPlan, 'origins' | 'originsId'>;

/** Few different decisions are made again and again, each a document of its own, and under one catalog the columns stay the same. */
class KeptOrigins {
  readonly #keys: TargetKeys;
  readonly #kept = new WeakMap<SensitiveOrigins, WeakMap<readonly Obligation[], Promise<NamedOrigins>>>();

  constructor(keys: TargetKeys) {
    this.#keys = keys;
  }

  of(target: string, obligations: readonly Obligation[], columns: SensitiveOrigins): Promise<NamedOrigins> {
    let of = this.#kept.get(columns);
    if (!of) this.#kept.set(columns, (of = new WeakMap()));
    let found = of.get(obligations);
    if (!found) {
      found = this.#find(target, obligations, columns);
      of.set(obligations, found);
      found.catch(() => of.delete(obligations));
    }
    return found;
  }

  async #find(target: string, obligations: readonly Obligation[], columns: SensitiveOrigins): Promise<NamedOrigins> {
    const masks = obligations.filter((obligation) => obligation.type === 'mask');
    // The strictest obligation stands first, and the first that means a column counts.
    const rules = masks.map(
      ({ field, method, keepFirst, keepLast }): PlannedRule => ({
        id: field,
        method: METHOD[method],
        keepFirst,
        keepLast,
        ...(method === 'hash' && { key: this.#keys.of(target) }),
      }),
    );
    const found = await columns.of(masks.map(({ field }) => field));
    const origins = found.map(({ table, attribute, pattern, derived }): PlannedOrigin => {
      const rule = rules[pattern] ?? UNPROVEN;
      // A part of an expression is another part of what it was made of.
      return { table, attribute, rule: derived && rule.method === METHOD.partial ? UNPROVEN : rule };
    });
    return { origins, originsId: idOf(origins) };
  }
}

/** A digest: a filter takes what it has under this name for these origins. The keys of hash masking are in it, and cannot be told from it. */
function idOf(origins: readonly PlannedOrigin[]): Uint8Array {
  if (origins.length === 0) return NO_ID;
  const said = origins.map(({ table, attribute, rule: { id, method, keepFirst, keepLast, key } }) => [
    ...[table, attribute, id, method, keepFirst, keepLast],
    key ? Buffer.from(key).toString('base64') : '',
  ]);
  return hash('sha256', JSON.stringify(said), 'buffer').subarray(0, ID_BYTES);
}

const ID_BYTES = 16;
const NO_ID = new Uint8Array();
const NOTHING = { origins: [], originsId: NO_ID, clearPositions: [], positions: [], maskMessages: false } as const;

const places = (result: ResultFacts['result'], what: string): number[] => (result ?? []).flatMap((kind, at) => (kind === what ? [at] : []));

/** Without columns everything passes, in whatever format it is. */
const passing = (of: CopyFacts): CopyPlan => ({
  ...formOf(of.format === 'binary' ? { format: 'text', columns: undefined } : of),
  columns: [],
});

function masking(of: CopyFacts): CopyPlan {
  const { columns } = of;
  if (columns === undefined) throw new ObligationError('unsupported', 'which columns of this COPY are sensitive is not known');
  if (!columns.includes('sensitive')) return passing(of);
  if (of.format === 'binary')
    throw new ObligationError('unsupported', 'sensitive columns are not copied in binary format: use text or CSV');
  return { ...formOf(of), columns: columns.map((kind) => (kind === 'clear' ? PASSES : COPIED)) };
}

function formOf({ format, nullText = '', ...marks }: CopyFacts): Omit<CopyPlan, 'columns'> {
  const [delimiterByte, quoteByte, escapeByte] = [marks.delimiter, marks.quote, marks.escape].map((text) => Buffer.from(text ?? ''));
  if ([delimiterByte, quoteByte, escapeByte].some((bytes) => (bytes?.length ?? 0) > 1))
    throw new ObligationError('unsupported', 'a delimiter, quote or escape of COPY is one byte');
  return {
    format: format === 'csv' ? FORMAT.csv : FORMAT.text,
    delimiter: delimiterByte ?? Buffer.alloc(0),
    quote: quoteByte ?? Buffer.alloc(0),
    escape: escapeByte ?? Buffer.alloc(0),
    nullText: Buffer.from(nullText),
  };
}
