/**
 * Requests that wait for people: held, answered, released once.
 *
 * What is promised, whatever fails and whenever the service dies:
 * - a step is in the tap, then in the store, and only then does anybody hear of it; an answer that was acknowledged is not lost;
 * - an approval sets free one request: that is stored (`used`) before the request is let through, so a crash in between loses the permit, never doubles it;
 * - when tap or store fails, nothing is released.
 *
 * The steps of one approval follow each other (`#inTurn`); those of different ones share the disk's writes.
 */
import { randomBytes } from 'node:crypto';
import type { Hold } from '../decision/decision.ts';
import { type Clock, systemClock } from './clock.ts';
import { Deadlines, type Due } from './deadlines.ts';
import { ApprovalError } from './error.ts';
import { type ApprovalEvent, answeredEvent, type HoldAnswered, heldEvent } from './event.ts';
import {
  type Approval,
  type ApprovalState,
  type Approver,
  answered,
  barred,
  cancelled,
  deadline,
  ending,
  type HeldRequest,
  isOpen,
  type Progress,
  type Refused,
  timedOut,
  used,
  type Verdict,
} from './state.ts';
import type { ApprovalRecord, ApprovalStore } from './store.ts';
import { type ApprovalStatus, approvalStatus } from './view.ts';

export interface ApprovalsOptions {
  readonly store: ApprovalStore;
  /** Appends to the tap; durable when it resolves. */
  readonly record: (events: readonly ApprovalEvent[]) => Promise<void>;
  readonly clock?: Clock;
  /** Holds and grants open at once. Default 10,000. */
  readonly maxOpen?: number;
  /** No request is held longer, whatever its terms say. Default 24 h. */
  readonly maxTtlMs?: number;
  /** How long a grant waits for its request, from the last approval on. Default 15 min. */
  readonly grantTtlMs?: number;
  /** Ended approvals that are kept to be shown; the record has them all. Default 1,000. */
  readonly keepEnded?: number;
  /** Whether what belongs to this session must be kept, whatever its age. Default: no. */
  readonly mustKeep?: (session: string) => boolean;
  /** Why nothing may be set free at present; the default: it may. */
  readonly withheld?: () => string | undefined;
  /** Told of each end, and after how many milliseconds. */
  readonly onEnded?: (state: ApprovalState, heldMs: number) => void;
  /** Told of a failure that no caller can be told of. */
  readonly onFault?: (error: unknown) => void;
}

/** What became of a held request, as its waiting caller is told. */
export interface Outcome {
  /** `interrupted`: nothing was decided for this caller (the service stops, or cannot store the release); a retry may find a grant, or waits on. */
  readonly state: 'approved' | 'denied' | 'expired' | 'cancelled' | 'interrupted';
  readonly approval: string;
  /** Stable identities of who approved or denied. */
  readonly by: readonly string[];
  readonly reason: string;
}

/** A caller's end of a hold. After `detach` or `cancel` the outcome may never settle. */
export interface HoldHandle {
  readonly id: string;
  /** Unix milliseconds. */
  readonly expiresAt: number;
  /** Never rejects. `approved` lets exactly this one request through. */
  readonly outcome: Promise<Outcome>;
  /** The caller has been sent away with the approval's id: the hold goes on, and an approval leaves a grant. */
  detach(): void;
  /** The caller went away by itself: unless it has been answered already, the hold ends. */
  cancel(reason?: string): void;
}

/** The permit that was consumed: it lets one request through. */
export interface Grant {
  readonly approval: string;
  readonly by: readonly string[];
  readonly decision: Hold;
}

export type AnswerResult =
  /** `again`: the same person had approved already, and it still counts once. */
  | { readonly ok: true; readonly approval: Approval; readonly again: boolean }
  | Refused
  /** It does not count: tap or store did not take it. */
  | { readonly ok: false; readonly code: 'not_durable'; readonly detail: string };

/** The masked input of a larger request is left to the session's record: 10,000 holds of a megabyte would not fit anywhere. */
export const MAX_KEPT_INPUT = 16 * 1024;
/** After which the end of a hold is recorded again when tap or store did not take it. */
const RETRY_MS = 5_000;
const STOPPING = 'The service is stopping; the request stays held. Send it again: it waits on, or goes through once it has been approved.';

class Entry implements Due {
  due = Number.POSITIVE_INFINITY;
  place = -1;
  approval: Approval;
  caller: ((outcome: Outcome) => void) | undefined = undefined;
  /** A request is about to use the grant. */
  taken = false;
  /** What ended in memory already and is still to be recorded: the event, until the tap has it, and the progress that the store has. */
  owed: { event: ApprovalEvent | undefined; readonly stored: Progress } | undefined = undefined;
  /** The last of the steps under way. */
  tail: Promise<unknown> | undefined = undefined;

  constructor(approval: Approval) {
    this.approval = approval;
  }
}

export class Approvals {
  readonly #options: Required<Omit<ApprovalsOptions, 'store' | 'record' | 'clock'>>;
  readonly #store: ApprovalStore;
  readonly #record: ApprovalsOptions['record'];
  readonly #clock: Clock;
  readonly #entries = new Map<string, Entry>();
  /** The open ones. */
  readonly #byFingerprint = new Map<string, Entry[]>();
  readonly #deadlines = new Deadlines<Entry>();
  readonly #counts = { pending: 0, approved: 0 };
  /** The ids of ended ones that are still shown, oldest first. */
  #ended: string[] = [];
  /** When the first ended of those that are not shown any more, and that the store may still have; infinity when there are none. */
  #leftInStore = Number.POSITIVE_INFINITY;
  /** Holds that are being written. */
  #opening = 0;
  #alarm: { readonly at: number; readonly off: () => void } | undefined;
  #closed = false;
  readonly #writes: WriteGate;

  constructor({ store, record, clock = systemClock, ...options }: ApprovalsOptions, recovered: Iterable<Approval>, records: number) {
    const quiet = (): void => {};
    this.#options = {
      maxOpen: 10_000,
      maxTtlMs: 86_400_000,
      grantTtlMs: 900_000,
      keepEnded: 1_000,
      mustKeep: () => false,
      withheld: () => undefined,
      onEnded: quiet,
      onFault: quiet,
      ...options,
    };
    this.#store = store;
    this.#record = record;
    this.#clock = clock;
    this.#writes = new WriteGate(store, records, () => this.#snapshot(), this.#options.onFault);
    for (const approval of [...recovered].sort((a, b) => endOf(a) - endOf(b))) this.#enter(new Entry(approval));
    this.#arm();
  }

  /** Requests that wait for an answer, and approvals that wait for their request. */
  get open(): { readonly holds: number; readonly grants: number } {
    return { holds: this.#counts.pending, grants: this.#counts.approved };
  }

  get health(): ApprovalStore['health'] {
    return this.#closed ? { ok: false, reason: 'the service is stopping' } : this.#store.health;
  }

  get(id: string): Approval | undefined {
    return this.#entries.get(id)?.approval;
  }

  /** For the agent that waits: `undefined` unless it is its own. */
  status(id: string, identityId: string): ApprovalStatus | undefined {
    const approval = this.get(id);
    return approval?.request.identity.id === identityId ? approvalStatus(approval, this.#clock.now()) : undefined;
  }

  /** Newest first. */
  list(state?: ApprovalState): Approval[] {
    const found = [...this.#entries.values()]
      .map(({ approval }) => approval)
      .filter(({ progress }) => state === undefined || progress.state === state);
    return found.sort((a, b) => b.heldAt - a.heldAt);
  }

  /** Holds a request. Rejects with an `ApprovalError`: `too_many_held`, `not_durable`, `closed`. */
  async hold(request: HeldRequest): Promise<HoldHandle> {
    const { maxOpen, maxTtlMs } = this.#options;
    if (this.#closed) throw new ApprovalError('closed', 'the service is stopping');
    if (this.#counts.pending + this.#counts.approved + this.#opening >= maxOpen)
      throw new ApprovalError('too_many_held', `${maxOpen} requests are held already`);
    this.#opening += 1;
    try {
      const heldAt = this.#clock.now();
      const kept = request.maskedInputJson.length > MAX_KEPT_INPUT ? { ...request, maskedInputJson: '' } : request;
      const expiresAt = heldAt + Math.min(request.terms.ttlMs, maxTtlMs);
      const approval: Approval = { id: this.#newId(), request: kept, heldAt, expiresAt, progress: { state: 'pending', answers: [] } };
      await this.#tell([heldEvent(approval)]);
      return await this.#writes
        .write({ kind: 'held', approval }, () => {
          const entry = new Entry(approval);
          this.#enter(entry);
          this.#arm();
          const handle = this.#attach(entry);
          if (this.#closed) this.#interrupt(entry, STOPPING);
          return handle;
        })
        .catch((error: unknown) => {
          this.#inBackground(this.#tell([answeredEvent(approval, 'cancelled', '', 'The hold could not be stored.')]));
          throw error;
        });
    } finally {
      this.#opening -= 1;
    }
  }

  /** Takes up a hold of the same request that nobody waits for: after a 202, or a restart of the service. */
  join(fingerprint: string, identityId: string): HoldHandle | undefined {
    if (this.#closed || this.#counts.pending === 0) return undefined;
    const now = this.#clock.now();
    const entry = this.#openOf(fingerprint, identityId).find(
      ({ approval, caller }) => approval.progress.state === 'pending' && !caller && now < approval.expiresAt,
    );
    return entry && this.#attach(entry);
  }

  /** Whether `findGrant` might find one. A counter when there are none at all, so that it costs a request nothing. */
  hasGrants(fingerprint: string): boolean {
    return (
      this.#counts.approved > 0 &&
      (this.#byFingerprint.get(fingerprint)?.some(({ approval }) => approval.progress.state === 'approved') ?? false)
    );
  }

  /**
   * Consumes a grant for this request. Of requests that ask at once, one gets it; that it is used is durable when it resolves.
   * Rejects with `not_durable` when it could not be stored, with `withheld` when nothing may be set free (the grant stays), or with `closed`.
   */
  async findGrant(fingerprint: string, identityId: string): Promise<Grant | undefined> {
    if (!this.hasGrants(fingerprint)) return undefined;
    if (this.#closed) throw new ApprovalError('closed', 'the service is stopping');
    const entry = this.#openOf(fingerprint, identityId).find(
      ({ approval, caller, taken }) => approval.progress.state === 'approved' && !caller && !taken,
    );
    if (!entry) return undefined;
    const why = this.#options.withheld();
    if (why !== undefined) throw new ApprovalError('withheld', `the request is approved, and nothing new passes: ${why}`);
    entry.taken = true;
    return this.#inTurn(entry, async () => {
      try {
        const { id, request, progress } = entry.approval;
        const next = used(entry.approval, this.#clock.now());
        if (!next) return undefined;
        await this.#move(entry, next);
        return { approval: id, by: progress.answers.map(({ by }) => by), decision: request.decision };
      } finally {
        entry.taken = false;
      }
    });
  }

  /** An approver's answer. It counts when it resolves with `ok`, and has then been recorded. Never rejects. */
  async answer(id: string, approver: Approver, verdict: Verdict, reason: string): Promise<AnswerResult> {
    const entry = this.#entries.get(id);
    if (!entry) return { ok: false, code: 'not_found', detail: 'There is no such approval, or it ended long ago.' };
    if (this.#closed) return { ok: false, code: 'not_durable', detail: 'The service is stopping. Try again when it is back.' };
    const bar = barred(entry.approval, approver);
    return bar ?? this.#inTurn(entry, () => this.#answer(entry, approver, verdict, reason.trim()));
  }

  /**
   * Forgets what ended before this time, Unix milliseconds, here and in the store: who asked for what, and who answered. What must be kept is kept.
   * Rejects when the store did not take it: then it is to be asked again.
   */
  async forgetEnded(before: number): Promise<void> {
    const kept: string[] = [];
    for (const id of this.#ended) {
      const entry = this.#entries.get(id);
      if (entry === undefined) continue;
      if (endOf(entry.approval) >= before || this.#options.mustKeep(entry.approval.request.session)) kept.push(id);
      else this.#drop(entry);
    }
    this.#ended = kept;
    if (this.#leftInStore >= before) return;
    const left = this.#leftInStore;
    this.#leftInStore = Number.POSITIVE_INFINITY;
    try {
      await this.#writes.renew();
    } catch (error) {
      this.#leftInStore = Math.min(left, this.#leftInStore);
      throw error;
    }
  }

  /** Ends every wait clearly; what is held stays held for the next start. Resolves when nothing is being written. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#alarm?.off();
    for (const entry of this.#entries.values()) this.#interrupt(entry, STOPPING);
    await Promise.allSettled([...this.#entries.values()].map(({ tail }) => tail));
    await this.#writes.idle();
  }

  async #answer(entry: Entry, approver: Approver, verdict: Verdict, reason: string): Promise<AnswerResult> {
    const before = entry.approval.progress;
    const step = answered(entry.approval, approver, verdict, reason, this.#clock.now(), this.#options.grantTtlMs);
    if (!step.ok) return step;
    if (step.progress === before) return { ok: true, approval: entry.approval, again: true };
    const said = ANSWERS[step.progress.state];
    try {
      if (said) await this.#tell([answeredEvent(entry.approval, said, approver.identity.id, reason)]);
      await this.#move(entry, step.progress);
    } catch (error) {
      this.#options.onFault(error);
      return { ok: false, code: 'not_durable', detail: 'Your answer could not be recorded, so it does not count. Try again.' };
    }
    if (step.progress.state === 'denied') this.#settle(entry, 'denied', [approver.identity.id], reason);
    if (step.progress.state === 'approved' && entry.caller) await this.#release(entry);
    return { ok: true, approval: entry.approval, again: false };
  }

  /** Lets the waiting caller through, once that is stored. Otherwise the approval stays a grant, for its retry. */
  async #release(entry: Entry): Promise<void> {
    const { answers } = entry.approval.progress;
    const why = this.#options.withheld();
    if (why !== undefined)
      return this.#interrupt(
        entry,
        `The request was approved, and nothing new passes: ${why}. The approval waits for it: send it again once that is put right.`,
      );
    try {
      const next = used(entry.approval, this.#clock.now());
      if (!next) throw new ApprovalError('not_durable', `${entry.approval.id} was approved, and its time passed before that was stored`);
      await this.#move(entry, next);
    } catch (error) {
      this.#options.onFault(error);
      return this.#interrupt(entry, 'The request was approved, and its release could not be stored. Send it again.');
    }
    this.#settle(
      entry,
      'approved',
      answers.map(({ by }) => by),
      answers.at(-1)?.reason ?? '',
    );
  }

  async #expire(entry: Entry): Promise<void> {
    if (entry.owed) return this.#pay(entry);
    const { progress } = entry.approval;
    const next = timedOut(entry.approval, this.#clock.now());
    if (!next) {
      // The clock went back, or a step came first.
      this.#deadlines.set(entry, deadline(entry.approval));
      return this.#arm();
    }
    const event = progress.state === 'pending' ? answeredEvent(entry.approval, 'expired', '', '') : undefined;
    await this.#end(entry, next, event, () => this.#settle(entry, 'expired', [], ending(entry.approval)));
  }

  async #cancel(entry: Entry, reason: string): Promise<void> {
    const next = cancelled(entry.approval, reason, this.#clock.now());
    if (next) await this.#end(entry, next, answeredEvent(entry.approval, 'cancelled', '', reason), () => {});
  }

  /** Ends it without anybody's answer. That sets nothing free, so it counts at once; tap and store are told as soon as they take it. */
  #end(entry: Entry, progress: Progress, event: ApprovalEvent | undefined, then: () => void): Promise<void> {
    entry.owed = { event, stored: entry.approval.progress };
    this.#apply(entry, progress);
    then();
    return this.#pay(entry);
  }

  async #pay(entry: Entry): Promise<void> {
    const { owed } = entry;
    if (!owed) return;
    try {
      if (owed.event) await this.#tell([owed.event]);
      owed.event = undefined;
      await this.#writes.write({ kind: 'moved', id: entry.approval.id, progress: entry.approval.progress }, () => {
        entry.owed = undefined;
        this.#forgetOldest(entry.approval.id);
      });
    } catch (error) {
      this.#deadlines.set(entry, this.#clock.now() + RETRY_MS);
      this.#arm();
      throw error;
    }
  }

  #attach(entry: Entry): HoldHandle {
    const { promise: outcome, resolve } = Promise.withResolvers<Outcome>();
    entry.caller = resolve;
    const leave = (): boolean => {
      const waited = entry.caller === resolve;
      if (waited) entry.caller = undefined;
      return waited;
    };
    return {
      id: entry.approval.id,
      expiresAt: entry.approval.expiresAt,
      outcome,
      detach: () => void leave(),
      cancel: (reason = 'The caller went away.') => {
        if (!leave() || this.#closed) return;
        this.#inBackground(this.#inTurn(entry, () => (entry.caller ? Promise.resolve() : this.#cancel(entry, reason))));
      },
    };
  }

  #settle(entry: Entry, state: Outcome['state'], by: readonly string[], reason: string): void {
    entry.caller?.({ state, approval: entry.approval.id, by, reason });
    entry.caller = undefined;
  }

  #interrupt(entry: Entry, reason: string): void {
    this.#settle(entry, 'interrupted', [], reason);
  }

  #openOf(fingerprint: string, identityId: string): Entry[] {
    return (this.#byFingerprint.get(fingerprint) ?? []).filter(({ approval }) => approval.request.identity.id === identityId);
  }

  /** Runs a step of this approval after those under way. */
  #inTurn<T>(entry: Entry, step: () => Promise<T>): Promise<T> {
    const result = entry.tail ? entry.tail.then(step) : step();
    const tail: Promise<unknown> = result.then(
      () => entry.tail === tail && (entry.tail = undefined),
      () => entry.tail === tail && (entry.tail = undefined),
    );
    entry.tail = tail;
    return result;
  }

  #inBackground(work: Promise<unknown>): void {
    work.catch(this.#options.onFault);
  }

  async #tell(events: readonly ApprovalEvent[]): Promise<void> {
    try {
      await this.#record(events);
    } catch (error) {
      throw new ApprovalError('not_durable', `the tap did not take it: ${(error as Error).message}`, error);
    }
  }

  #move(entry: Entry, progress: Progress): Promise<void> {
    return this.#writes.write({ kind: 'moved', id: entry.approval.id, progress }, () => this.#apply(entry, progress));
  }

  #enter(entry: Entry): void {
    const { id, request, progress } = entry.approval;
    this.#entries.set(id, entry);
    const { state } = progress;
    if (state !== 'pending' && state !== 'approved') {
      this.#forgetOldest(id);
      return;
    }
    this.#counts[state] += 1;
    const same = this.#byFingerprint.get(request.fingerprint);
    if (same) same.push(entry);
    else this.#byFingerprint.set(request.fingerprint, [entry]);
    this.#deadlines.set(entry, deadline(entry.approval));
  }

  /** Takes a step in memory. */
  #apply(entry: Entry, progress: Progress): void {
    const { id, request, heldAt, progress: before } = entry.approval;
    entry.approval = { ...entry.approval, progress };
    if (before.state === 'pending' || before.state === 'approved') this.#counts[before.state] -= 1;
    if (progress.state === 'pending' || progress.state === 'approved') this.#counts[progress.state] += 1;
    this.#deadlines.set(entry, deadline(entry.approval));
    this.#arm();
    if (isOpen(progress)) return;
    const others = this.#byFingerprint.get(request.fingerprint)?.filter((other) => other !== entry) ?? [];
    if (others.length > 0) this.#byFingerprint.set(request.fingerprint, others);
    else this.#byFingerprint.delete(request.fingerprint);
    if (!entry.owed) this.#forgetOldest(id);
    this.#options.onEnded(progress.state, this.#clock.now() - heldAt);
  }

  #forgetOldest(ended: string): void {
    this.#ended.push(ended);
    if (this.#ended.length <= this.#options.keepEnded) return;
    const oldest = this.#ended.findIndex((id) => {
      const session = this.#entries.get(id)?.approval.request.session;
      return session === undefined || !this.#options.mustKeep(session);
    });
    if (oldest < 0) return;
    const [id = ''] = this.#ended.splice(oldest, 1);
    const entry = this.#entries.get(id);
    if (entry !== undefined) this.#drop(entry);
  }

  #drop({ approval }: Entry): void {
    this.#entries.delete(approval.id);
    this.#leftInStore = Math.min(this.#leftInStore, endOf(approval));
  }

  /** One timer, for the earliest deadline. */
  #arm(): void {
    const at = this.#deadlines.first?.due;
    if (this.#closed || at === this.#alarm?.at) return;
    this.#alarm?.off();
    this.#alarm = at === undefined ? undefined : { at, off: this.#clock.after(Math.max(0, at - this.#clock.now()), () => this.#ring()) };
  }

  #ring(): void {
    this.#alarm = undefined;
    const now = this.#clock.now();
    for (let entry = this.#deadlines.first; entry && entry.due <= now; entry = this.#deadlines.first) {
      const late = entry;
      this.#deadlines.set(late, Number.POSITIVE_INFINITY);
      this.#inBackground(this.#inTurn(late, () => this.#expire(late)));
    }
    this.#arm();
  }

  /** `apr_` and 50 random bits in base32: short enough to type, and guessing one of 10,000 open ones takes 10^11 tries, each of which needs an approver's token. */
  #newId(): string {
    const id = `apr_${Array.from(randomBytes(10), (byte) => 'abcdefghjkmnpqrstvwxyz0123456789'[byte & 31]).join('')}`;
    return this.#entries.has(id) ? this.#newId() : id;
  }

  *#snapshot(): Iterable<ApprovalRecord> {
    for (const { approval, owed } of this.#entries.values())
      yield { kind: 'held', approval: owed ? { ...approval, progress: owed.stored } : approval };
  }
}

/** When it ended; infinity while it has not. */
const endOf = ({ progress }: Approval): number => ('endedAt' in progress ? progress.endedAt : Number.POSITIVE_INFINITY);

const ANSWERS: Partial<Record<ApprovalState, HoldAnswered['answer']>> = {
  pending: 'vote',
  approved: 'approved',
  denied: 'denied',
  revoked: 'revoked',
};

/** Appends records and takes each step in memory right after; now and then replaces the store's records by a snapshot that lacks none of them. */
class WriteGate {
  readonly #store: ApprovalStore;
  readonly #snapshot: () => Iterable<ApprovalRecord>;
  readonly #onFault: (error: unknown) => void;
  #records: number;
  #kept = 0;
  #writing = 0;
  /** While writes wait for a snapshot to be taken. */
  #shut: PromiseWithResolvers<void> | undefined;
  #compacting: Promise<void> | undefined;
  /** Why the last snapshot was not taken. */
  #fault: unknown;

  constructor(store: ApprovalStore, records: number, snapshot: () => Iterable<ApprovalRecord>, onFault: (error: unknown) => void) {
    this.#store = store;
    this.#records = records;
    this.#snapshot = snapshot;
    this.#onFault = onFault;
  }

  async write<T>(record: ApprovalRecord, apply: () => T): Promise<T> {
    while (this.#shut) await this.#shut.promise;
    this.#writing += 1;
    try {
      await this.#store.append(record);
      this.#records += 1;
      return apply();
    } catch (error) {
      throw error instanceof ApprovalError
        ? error
        : new ApprovalError('not_durable', `the store did not take it: ${(error as Error).message}`, error);
    } finally {
      this.#writing -= 1;
      // Amortised: a snapshot is written when as much again has been appended, and 10,000 records more.
      if (!this.#shut && !this.#compacting && this.#records > 2 * this.#kept + 10_000) this.#shut = Promise.withResolvers();
      if (this.#shut && this.#writing === 0) this.#compact();
    }
  }

  /** Replaces what the store has by what there is now. Rejects when the store does not take it. */
  async renew(): Promise<void> {
    while (this.#compacting) await this.#compacting;
    this.#shut ??= Promise.withResolvers();
    const taken = this.#shut.promise;
    if (this.#writing === 0) this.#compact();
    await taken;
    await this.#compacting;
    if (this.#fault !== undefined) throw this.#fault;
  }

  /** Resolves when nothing is being written. */
  async idle(): Promise<void> {
    while (this.#writing > 0 || this.#shut || this.#compacting) await (this.#compacting ?? new Promise(setImmediate));
  }

  #compact(): void {
    const records = [...this.#snapshot()];
    this.#compacting = this.#store
      .compact(records)
      .then(
        () => {
          this.#kept = records.length;
          this.#fault = undefined;
        },
        (error: unknown) => {
          this.#fault = error;
          // It goes on with what it has, and tries again when that much more has come.
          this.#kept = this.#records;
          this.#onFault(error);
        },
      )
      .finally(() => {
        this.#compacting = undefined;
      });
    this.#records = records.length;
    this.#shut?.resolve();
    this.#shut = undefined;
  }
}

/**
 * Opens the approvals that the store holds: pending ones wait on, without a caller; approved and unused ones are grants.
 * Rejects with an `ApprovalError` (`store_unreadable`), or as the store's `read` does.
 */
export const createApprovals = async (options: ApprovalsOptions): Promise<Approvals> => {
  const found = new Map<string, Approval>();
  let records = 0;
  for await (const record of options.store.read()) {
    records += 1;
    if (record.kind === 'held') found.set(record.approval.id, record.approval);
    else {
      // A step of one that a snapshot has left out because it had ended long before.
      const approval = found.get(record.id);
      if (approval) found.set(record.id, { ...approval, progress: record.progress });
    }
  }
  return new Approvals(options, found.values(), records);
};
