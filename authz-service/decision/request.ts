/** What a door hands to `decide`: one thing to be judged, in no wire format. It is also the policy's input. */

/** Who is calling, as proved by a verified token. */
export interface Identity {
  /** Stable and unique: `<issuer name>:<subject>`. Compared, recorded and shown; never parsed. */
  readonly id: string;
  /** The issuer's name in the configuration. */
  readonly issuer: string;
  readonly subject: string;
  /** For people to read; not proof of anything. */
  readonly name: string;
  readonly kind: 'user' | 'workload';
  /** The OAuth client (`azp`, `appid`, `client_id`), or empty. */
  readonly client: string;
  /** The Entra tenant (`tid`), or empty. */
  readonly tenant: string;
  readonly groups: readonly string[];
  readonly roles: readonly string[];
  readonly scopes: readonly string[];
}

/** What an agent was set to do, and for whom; empty strings where nothing was said. */
export interface Run {
  readonly id: string;
  readonly onBehalfOf: string;
  /** Where the id came from: only `token` is proved by the issuer. */
  readonly source: 'token' | 'header' | 'baggage' | 'none';
}

export interface TargetInfo {
  readonly name: string;
  readonly protocol: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Of a database: the patterns `schema.table.column` of its sensitive columns. */
  readonly sensitive?: readonly string[];
}

/** An HTTP request as the target will get it. Paths are as Envoy normalised them. */
export interface HttpRequest {
  readonly protocol: 'http';
  readonly method: string;
  readonly host: string;
  /** Without the query. Percent-encoding as sent upstream. */
  readonly path: string;
  /** The path's segments, percent-decoded once. */
  readonly segments: readonly string[];
  readonly query: Readonly<Record<string, readonly string[]>>;
  /** Lower-case names; credentials left out. */
  readonly headers: Readonly<Record<string, readonly string[]>>;
  /** Media type without parameters, lower case, or empty. */
  readonly content_type: string;
  readonly body: HttpBody;
}

export interface HttpBody {
  /** Bytes. The body is whole: a larger one than the target's limit never gets here. */
  readonly size: number;
  /** Hexadecimal; of no bytes when there is no body. */
  readonly sha256: string;
  /** The parsed body when its type is JSON (absent otherwise). A body of a JSON type that does not parse is refused before policy. */
  readonly json?: unknown;
  /** The decoded fields when its type is application/x-www-form-urlencoded. */
  readonly form?: Readonly<Record<string, readonly string[]>>;
}

/** One string of SQL, as the target will run it. */
export interface SqlRequest {
  readonly protocol: 'postgres';
  readonly database: string;
  /** The text as it was sent; empty for `connect`. */
  readonly statement: string;
  /** What its statements do, in order, each once: `connect` when the session is opened, then `select`, `delete`, `ddl`, …: policies/schemas/input.json has them all. */
  readonly commands: readonly string[];
  /** A name without a schema stands here once for each schema that has such a relation, or with an empty schema when none is known. */
  readonly reads: readonly RelationName[];
  readonly writes: readonly RelationName[];
  readonly columns: readonly ColumnUse[];
  /** With a schema where it was written so; built-in ones that are known to be pure are left out. */
  readonly functions: readonly string[];
  /** Whether that is all: false when something in it cannot be seen through. */
  readonly complete: boolean;
  /** Why it is not complete, for people. */
  readonly incomplete: readonly string[];
  /** Values that it runs with; absent where the text alone is judged. Binary ones of types that are not read here are hexadecimal, after `\x`. */
  readonly parameters?: readonly (string | null)[];
}

export interface RelationName {
  readonly schema: string;
  readonly name: string;
}

export interface ColumnUse {
  readonly schema: string;
  readonly table: string;
  readonly column: string;
  readonly use: 'output' | 'predicate' | 'written';
  readonly sensitive: boolean;
}

/** The union grows by one member for each protocol. */
export type TypedRequest = HttpRequest | SqlRequest;

export interface Request {
  readonly time: { readonly now: string; readonly unix: number };
  readonly identity: Identity;
  readonly run: { readonly id: string; readonly on_behalf_of: string; readonly source: Run['source'] };
  readonly target: TargetInfo;
  readonly session: { readonly id: string };
  readonly request: TypedRequest;
}

/** Who asks, of what and where: all of a request but what is asked, and the time, which is now. */
export interface Asking {
  readonly identity: Identity;
  readonly run: Run;
  readonly target: TargetInfo;
  readonly session: string;
}

export function requestOf({ identity, run, target, session }: Asking, request: TypedRequest): Request {
  const now = Date.now();
  return {
    time: { now: new Date(now).toISOString(), unix: Math.floor(now / 1000) },
    identity,
    run: { id: run.id, on_behalf_of: run.onBehalfOf, source: run.source },
    target,
    session: { id: session },
    request,
  };
}
