/** The decision document: what a policy answers at `data.sluice.decision`, checked and made into types. */

export type MaskMethod = 'full' | 'partial' | 'hash' | 'null' | 'drop';

/** How a selected value is masked. `keepFirst` and `keepLast` count characters and are 0 unless the method is `partial`. */
export interface Masking {
  readonly method: MaskMethod;
  readonly keepFirst: number;
  readonly keepLast: number;
}

export type Obligation =
  /** `field` is a path in the response: `customer.ssn`, `items[*].card`, `**.ssn`. */
  | ({ readonly type: 'mask'; readonly field: string } & Masking)
  /** `detector`: a built-in one, or `pattern:<name>` for one from the configuration. */
  | ({ readonly type: 'detect'; readonly detector: string } & Masking)
  | { readonly type: 'record'; readonly payload: 'masked' };

export interface HoldTerms {
  /** `group:<name>` or `identity:<id>`. At least one. */
  readonly approvers: readonly string[];
  /** How many different people must approve; at least 1. */
  readonly quorum: number;
  readonly ttlMs: number;
}

interface Judged {
  readonly rule: string;
  readonly reason: string;
  /** Every rule that fired, for `explain`. */
  readonly matched: readonly { readonly rule: string; readonly effect: string; readonly reason: string }[];
  readonly dependsOn: readonly string[];
}

interface Terms {
  readonly obligations: readonly Obligation[];
  /** The name of the target's credential to use, or empty for its default. */
  readonly credential: string;
}

export type Allow = Judged & Terms & { readonly effect: 'allow' };
export type Deny = Judged & { readonly effect: 'deny' };
export type Hold = Judged & Terms & { readonly effect: 'hold'; readonly hold: HoldTerms };
export type Decision = Allow | Deny | Hold;
