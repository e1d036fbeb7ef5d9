/** A service's surroundings for tests of approvals: time that the test moves, a tap and a store that fail when told to, and people. */
import type { Identity } from '../decision/request.ts';
import { type Approvals, type ApprovalsOptions, createApprovals } from './approvals.ts';
import type { Clock } from './clock.ts';
import type { ApprovalEvent } from './event.ts';
import type { Approver, HeldRequest } from './state.ts';
import type { ApprovalRecord, ApprovalStore } from './store.ts';

export class ManualClock implements Clock {
  #now = Date.parse('2026-03-01T12:00:00Z');
  #alarms: { at: number; wake: () => void }[] = [];

  now = (): number => this.#now;

  after = (ms: number, wake: () => void): (() => void) => {
    const alarm = { at: this.#now + ms, wake };
    this.#alarms.push(alarm);
    return () => {
      this.#alarms = this.#alarms.filter((other) => other !== alarm);
    };
  };

  get alarms(): number {
    return this.#alarms.length;
  }

  async advance(ms: number): Promise<void> {
    const until = this.#now + ms;
    for (;;) {
      const next = this.#alarms.filter(({ at }) => at <= until).sort((a, b) => a.at - b.at)[0];
      if (!next) break;
      this.#alarms = this.#alarms.filter((other) => other !== next);
      this.#now = Math.max(this.#now, next.at);
      next.wake();
      await settled();
    }
    this.#now = until;
    await settled();
  }
}

/** Lets everything that is not waiting for the test run its course. */
export const settled = (): Promise<void> => new Promise((resolve) => setImmediate(() => setImmediate(resolve)));

/** How the next append ends; the last two are those of a disk, where a failed write may be found after a restart. */
export type Fate = 'durable' | 'failed' | 'failed but persisted';

/** Holds what a disk would: a new service reads it after the old one has died. `fates` are of the coming appends; `durable` when none is left. */
export class CrashableDisk {
  records: string[] = [];
  fates: Fate[] = [];
  compactions = 0;
  compactionFails = false;
  #process = 0;

  /** The store of a new process. Whatever an older one does from now on reaches nothing and never resolves. */
  open(): ApprovalStore {
    this.#process += 1;
    const process = this.#process;
    const alive = async (): Promise<void> => {
      await new Promise(setImmediate);
      if (process !== this.#process) await new Promise(() => {});
    };
    return {
      read: async function* (this: CrashableDisk): AsyncGenerator<ApprovalRecord> {
        for (const record of this.records) yield JSON.parse(record) as ApprovalRecord;
      }.bind(this),
      append: async (record) => {
        await alive();
        const fate = this.fates.shift() ?? 'durable';
        if (fate !== 'failed') this.records.push(JSON.stringify(record));
        if (fate !== 'durable') throw new Error('no space left on device');
        await alive();
      },
      compact: async (records) => {
        const later = this.records.length;
        const snapshot = records.map((record) => JSON.stringify(record));
        await alive();
        if (this.compactionFails) throw new Error('no space left on device');
        this.records = [...snapshot, ...this.records.slice(later)];
        this.compactions += 1;
      },
      health: { ok: true },
    };
  }

  /** The process that writes dies. */
  crash(): void {
    this.#process += 1;
  }
}

export interface Bench {
  approvals: Approvals;
  readonly clock: ManualClock;
  readonly store: CrashableDisk;
  readonly tap: ApprovalEvent[];
  tapFails: boolean;
  readonly faults: unknown[];
  /** Kills the service and starts it anew on what the store holds. */
  restart(): Promise<void>;
}

export const bench = async (options: Partial<ApprovalsOptions> = {}): Promise<Bench> => {
  const [clock, store, tap, faults]: [ManualClock, CrashableDisk, ApprovalEvent[], unknown[]] = [
    new ManualClock(),
    new CrashableDisk(),
    [],
    [],
  ];
  const open = (): Promise<Approvals> =>
    createApprovals({
      store: store.open(),
      clock,
      record: async (events) => {
        await new Promise(setImmediate);
        if (self.tapFails) throw new Error('the sink is away');
        tap.push(...events);
      },
      onFault: (error) => faults.push(error),
      ...options,
    });
  const self: Bench = {
    approvals: undefined as unknown as Approvals,
    clock,
    store,
    tap,
    faults,
    tapFails: false,
    restart: async () => {
      store.crash();
      // The dead process keeps no timer.
      void self.approvals.close();
      self.approvals = await open();
    },
  };
  self.approvals = await open();
  return self;
};

export const person = (name: string, ...groups: string[]): Identity => ({
  id: `corp:${name}`,
  issuer: 'corp',
  subject: name,
  name,
  kind: 'user',
  client: '',
  tenant: '',
  groups,
  roles: [],
  scopes: [],
});

export const agent: Identity = { ...person('agent-7', 'support-agents'), kind: 'workload', client: 'agent' };

export const approver = (name: string, ...groups: string[]): Approver => ({
  identity: person(name, ...(groups.length > 0 ? groups : ['leads'])),
  onBehalfOf: '',
});

export const heldRequest = (changes: Partial<HeldRequest> = {}): HeldRequest => {
  const terms = changes.terms ?? { approvers: ['group:leads'], quorum: 1, ttlMs: 60_000 };
  const judged = { rule: 'destructive-needs-approval', reason: 'Deleting a customer needs an approval' };
  return {
    fingerprint: 'f1',
    session: 's1',
    target: 'demo',
    identity: agent,
    run: { id: 'run-1', onBehalfOf: '', source: 'none' },
    ...judged,
    summary: 'DELETE /customers/7',
    decision: { effect: 'hold', ...judged, matched: [], dependsOn: ['identity'], obligations: [], credential: 'default', hold: terms },
    maskedInputJson: '{"request":{"method":"DELETE"}}',
    ...changes,
    terms,
  };
};
