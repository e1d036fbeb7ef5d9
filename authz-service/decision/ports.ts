import type { Allow, Decision, Hold, HoldTerms, Obligation } from './decision.ts';
import type { Identity, Run, TypedRequest } from './request.ts';

/** What `decide` needs from the rest of the service, said in its own words, so that it imports none of it. */
export interface Ports {
  readonly policy: PolicyPort;
  readonly approvals: ApprovalsPort;
  /** Resolves when every event is durable; rejects when that cannot be promised. */
  readonly record: (events: readonly RecordedEvent[]) => Promise<void>;
  /** The typed request as JSON with the sensitive values masked. */
  readonly maskRequest: (requestJson: string) => string;
  readonly observe: Observer;
}

export interface PolicyPort {
  evaluate(inputJson: string): Promise<Evaluation>;
}

export type Evaluation =
  | { readonly ok: true; readonly decision: Decision; readonly revision: string; readonly micros: number }
  | { readonly ok: false; readonly code: string; readonly reason: string };

export interface ApprovalsPort {
  hasGrants(fingerprint: string): boolean;
  /** Consumes a one-use grant, durably, and names the approval that gave it. */
  findGrant(fingerprint: string, identityId: string): Promise<{ readonly approval: string } | undefined>;
  /** Attaches to a pending hold of the same request that has no live caller. */
  join(fingerprint: string, identityId: string): HoldHandle | undefined;
  hold(request: HeldRequest): Promise<HoldHandle>;
}

/** What is held: all that an approver decides on, and all that an approval sets free. */
export interface HeldRequest {
  /** Equal for two requests that do the same thing, for the same identity, under the same terms. */
  readonly fingerprint: string;
  readonly session: string;
  /** Which command of the session it is, from 1; absent: the request that opens it. */
  readonly command?: number;
  readonly target: string;
  readonly identity: Identity;
  readonly run: Run;
  readonly rule: string;
  readonly reason: string;
  /** One line for people, masked: `DELETE /customers/7`. */
  readonly summary: string;
  readonly terms: HoldTerms;
  /** What applies once it is approved: obligations and credential. */
  readonly decision: Hold;
  /** The policy's input with sensitive values masked, as JSON; empty when it is too long to be kept with the hold (the session's record has it). */
  readonly maskedInputJson: string;
}

export interface HoldHandle {
  readonly id: string;
  readonly outcome: Promise<HoldOutcome>;
  /** The caller has left but will ask again: the hold stays pending. */
  detach(): void;
  /** The caller has gone for good. */
  cancel(): void;
}

export interface HoldOutcome {
  /** `interrupted`: nothing was decided for this caller; its retry waits on, or finds a grant. */
  readonly state: 'approved' | 'denied' | 'expired' | 'cancelled' | 'interrupted';
  /** Stable identities of who answered. */
  readonly by: readonly string[];
  readonly reason: string;
}

export interface Observer {
  decision(effect: string, target: string, rule: string): void;
  stage(stage: 'identity' | 'policy' | 'hold' | 'tap', seconds: number): void;
}

/** Bodies of `sluice.tap.v1.Event` that the service itself emits. Field names are the protocol's, in camel case. */
export interface RecordedEvent {
  readonly session: string;
  readonly target: string;
  /** Which command of the session it is about, from 1; absent: the session as a whole. */
  readonly command?: number;
  readonly body:
    | {
        readonly kind: 'session_opened';
        readonly protocol: string;
        readonly identity: string;
        readonly identityJson: string;
        readonly run: string;
        readonly onBehalfOf: string;
        readonly downstreamAddress: string;
      }
    | {
        readonly kind: 'request_judged';
        readonly request: string;
        readonly effect: string;
        readonly rule: string;
        readonly reason: string;
        readonly policyRevision: string;
        readonly maskedInputJson: string;
        readonly decisionJson: string;
        readonly approval: string;
        readonly identityMicros: number;
        readonly policyMicros: number;
        readonly fingerprint: string;
        readonly statementFingerprint: string;
      }
    | { readonly kind: 'request_forwarded'; readonly emitter: string }
    | { readonly kind: 'session_closed'; readonly outcome: string }
    | { readonly kind: 'notice'; readonly notice: string; readonly text: string };
}

/** What a door knows of the caller beside the request. */
export interface Caller {
  readonly summary: string;
  /** Computed only for what is held. */
  readonly fingerprint: () => string;
  readonly downstreamAddress: string;
  readonly identityMicros: number;
  /** How long the caller is ready to wait for an answer to a hold, milliseconds; `undefined`: as long as the hold lasts. */
  readonly waitMs: number | undefined;
  /** Calls back once, when the caller has gone. */
  readonly onGone: (callback: () => void) => void;
  /** Told once when the request is held, before anybody has answered. */
  readonly onHeld?: (held: { readonly approval: string; readonly rule: string; readonly reason: string }) => void;
  /** The request as the record shows it, where the door knows which of its values are sensitive; what looks sensitive is masked in it besides. */
  readonly recorded?: TypedRequest;
  /** Absent: the request is a session of its own, or opens one. */
  readonly command?: SessionCommand;
}

/** The request is a command of a session that is open: its record neither opens nor ends one. */
export interface SessionCommand {
  /** For the record: equal for statements that differ in their constants only. */
  readonly fingerprint: string;
  /** Gives the command its number, from 1: called once, when it is recorded. */
  readonly number: () => number;
  /**
   * Whether a decision other than a deny is left for when the command runs: nothing is held, nothing is recorded. Nothing may run under
   * the verdict `later`.
   */
  readonly later: (decision: Allow | Hold) => boolean;
}

export interface Allowed {
  readonly kind: 'allow';
  readonly effect: 'allow' | 'hold';
  readonly rule: string;
  readonly obligations: readonly Obligation[];
  readonly credential: string;
  readonly approval: string;
  /** What of the input the decision rests on, as the policy says; empty when it does not. */
  readonly dependsOn: readonly string[];
  /** The policy's. */
  readonly revision: string;
}

/** What `decide` answers: the door says it in its protocol's words. */
export type Verdict =
  | Allowed
  /** It would be allowed or held; it is to be judged again when it runs. */
  | (Omit<Allowed, 'kind'> & { readonly kind: 'later' })
  | {
      readonly kind: 'deny';
      readonly rule: string;
      readonly reason: string;
      readonly approval: string;
      readonly answer: '' | 'denied' | 'expired';
    }
  /** Held, and the caller did not want to wait longer. */
  | { readonly kind: 'pending'; readonly rule: string; readonly reason: string; readonly approval: string }
  | { readonly kind: 'gone' }
  /** Nothing could be decided or nothing could be recorded: nothing passes. */
  | { readonly kind: 'failed'; readonly code: string; readonly reason: string };
