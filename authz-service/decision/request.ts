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

/** The union grows by one member for each protocol. */
export type TypedRequest = HttpRequest;

export interface Request {
  readonly time: { readonly now: string; readonly unix: number };
  readonly identity: Identity;
  readonly run: { readonly id: string; readonly on_behalf_of: string; readonly source: Run['source'] };
  readonly target: TargetInfo;
  readonly session: { readonly id: string };
  readonly request: TypedRequest;
}
