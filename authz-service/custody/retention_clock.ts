/**
 * What time it is, for those who delete by it. A clock is set by whoever runs the machine, and by what it believes: set forward, it would let go today what is to be
 * kept for years. So time counts as reached only where the uptime of the machine, the store's dates or cosignatures of witnesses say so too; where the clock says
 * much more or much less, nothing is deleted until it agrees again or somebody confirms it. And what was recorded while it stood behind ages from the end of that.
 */
import { readFileSync } from 'node:fs';
import { uptime } from 'node:os';
import type { ObjectStore } from '../storage/object_store.ts';

/** How long the machine has been up, sleep included, and since which start of it. */
export interface Uptime {
  readonly boot: string;
  readonly ms: number;
}

/** Leaves from `from` to before `to`: whatever they say, they were not recorded before `until`, Unix milliseconds. */
export interface LateLeaves {
  readonly from: number;
  readonly to: number;
  readonly until: number;
}

interface State {
  /** Unix milliseconds that are reached for certain, at this uptime. */
  readonly reached: number;
  readonly uptime: Uptime;
  /** How long the log was then. */
  readonly size: number;
  readonly late: readonly LateLeaves[];
  /** The clock stands behind: from which leaf on. */
  readonly behindFrom: number | null;
  /** Why nothing is deleted; `null`: it is. */
  readonly suspended: string | null;
}

export interface RetentionClockOptions {
  /** Where it is remembered across starts. */
  readonly memory: ObjectStore;
  /** How long the log is. */
  readonly size: () => number;
  /** When the newest event of the log happened, Unix milliseconds: what is known of the time before anything is remembered. */
  readonly newestEventMs: number | undefined;
  /** How far the clock may be from what is known. Milliseconds. */
  readonly boundMs: number;
  /** Somebody else tells what time it is (`attest`), so that the clock need not be taken at its word for the time that the machine was off. */
  readonly othersTell: boolean;
  /** Told when deletion is suspended (why) and when it goes on. */
  readonly changed: (suspended: string | undefined) => void;
  /** Unix milliseconds. */
  readonly now?: () => number;
  readonly uptime?: () => Uptime;
}

/** Less than this is how clocks run, and are set right. */
const TOLERANCE_MS = 60_000;
const REMEMBER_MS = 60_000;
const KEY = 'clock';
/** Beyond this, neighbours are taken together. */
const MAX_LATE = 100;

export class RetentionClock {
  readonly #options: Required<RetentionClockOptions>;
  #state: State;
  /** What a store or a witness has said last, if it is the latest, and at which uptime. */
  #attested: { readonly unixMs: number; readonly at: number } | undefined;
  #told: string | null = null;
  #rememberedAt = Number.NEGATIVE_INFINITY;

  private constructor(options: Required<RetentionClockOptions>, state: State) {
    this.#options = options;
    this.#state = state;
  }

  /** Rejects with a `StorageError`, or with an `Error` when what it remembers cannot be read. */
  static async open(given: RetentionClockOptions): Promise<RetentionClock> {
    const options = { now: Date.now, uptime: machineUptime, ...given };
    const { memory, newestEventMs, now, uptime: up, size } = options;
    const bytes = await memory.get(KEY);
    const state =
      bytes === undefined
        ? { reached: newestEventMs ?? now(), uptime: { boot: '', ms: 0 }, size: size(), late: [], behindFrom: null, suspended: null }
        : parsed(bytes, memory.url);
    const clock = new RetentionClock(options, state);
    const current = up();
    if (state.uptime.boot !== current.boot || state.uptime.ms > current.ms) {
      // The machine was started meanwhile: how long it was off, only the clock says. It is taken at its word within bounds, where nobody else can be asked.
      const ahead = now() - state.reached;
      const believed = !options.othersTell && ahead > 0 && ahead <= options.boundMs && state.suspended === null;
      const reached = believed ? now() : state.reached;
      clock.#state = { ...state, reached, uptime: current };
    }
    return clock;
  }

  /** The time that deletion may go by, Unix milliseconds; `undefined`: it may not. */
  get deletionTime(): number | undefined {
    return this.#state.suspended === null ? Math.min(this.#options.now(), this.#reached()) : undefined;
  }

  get suspended(): string | undefined {
    return this.#state.suspended ?? undefined;
  }

  /** How far the clock is ahead of what is known; negative: behind. Milliseconds. */
  get aheadMs(): number {
    return this.#options.now() - Math.max(this.#reached(), this.#attestedNow());
  }

  /** Before when none of the leaves from `from` to before `to` can have been recorded, whatever they say, Unix milliseconds; `Infinity`: that is not known yet. */
  notBefore(from: number, to: number): number {
    const { late, behindFrom } = this.#state;
    if (behindFrom !== null && to > behindFrom) return Number.POSITIVE_INFINITY;
    return Math.max(0, ...late.filter((leaves) => leaves.from < to && from < leaves.to).map(({ until }) => until));
  }

  /** Somebody else says that this time has come: it counts as reached as far as the clock says so too, and makes a clock that says much less suspect. */
  attest(unixMs: number): void {
    if (!Number.isFinite(unixMs)) return;
    const current = this.#options.uptime();
    const reached = Math.min(unixMs, this.#options.now());
    if (reached > this.#reached()) this.#state = { ...this.#state, reached, uptime: current };
    if (unixMs > this.#attestedNow()) this.#attested = { unixMs, at: current.ms };
  }

  /** The clock is right as it is: somebody has looked. */
  async confirm(): Promise<void> {
    const { now, uptime: up, size } = this.#options;
    this.#attested = undefined;
    this.#state = { ...this.#state, reached: now(), uptime: up(), size: size(), behindFrom: null, suspended: null };
    await this.#remember();
    this.#tell();
  }

  /** Looks at the clock: once it is open, and now and then. Rejects when what it has seen cannot be remembered. */
  async tick(): Promise<void> {
    const { now, size, boundMs, uptime: up } = this.#options;
    const before = this.#state;
    const wall = now();
    const known = Math.max(this.#reached(), this.#attestedNow());
    const ahead = wall - known;
    if (ahead > boundMs) this.#suspend(`the clock says ${iso(wall)}, and not more than ${iso(known)} is known to be reached`);
    else if (ahead < -boundMs) this.#suspend(`the clock says ${iso(wall)}, and ${iso(known)} was reached already`);
    else if (this.#state.suspended !== null) this.#state = { ...this.#state, suspended: null };
    if (ahead < -TOLERANCE_MS) this.#state = { ...this.#state, behindFrom: this.#state.behindFrom ?? this.#state.size };
    else {
      const { behindFrom, late } = this.#state;
      const grown = behindFrom === null || behindFrom === size() ? late : [...late, { from: behindFrom, to: size(), until: known }];
      this.#state = { ...this.#state, size: size(), late: bounded(grown), behindFrom: null };
    }
    this.#state = { ...this.#state, reached: this.#reached(), uptime: up() };
    this.#tell();
    const same = (['behindFrom', 'suspended', 'late'] as const).every((key) => before[key] === this.#state[key]);
    if (!same || this.#state.uptime.ms - this.#rememberedAt >= REMEMBER_MS) await this.#remember();
  }

  #reached(): number {
    const { reached, uptime: then } = this.#state;
    return reached + Math.max(0, this.#options.uptime().ms - then.ms);
  }

  #attestedNow(): number {
    if (this.#attested === undefined) return Number.NEGATIVE_INFINITY;
    return this.#attested.unixMs + this.#options.uptime().ms - this.#attested.at;
  }

  #suspend(why: string): void {
    if (this.#state.suspended === null) this.#state = { ...this.#state, suspended: why };
  }

  #tell(): void {
    const { suspended } = this.#state;
    if ((suspended === null) === (this.#told === null)) return;
    this.#told = suspended;
    this.#options.changed(suspended ?? undefined);
  }

  async #remember(): Promise<void> {
    await this.#options.memory.put(KEY, Buffer.from(`${JSON.stringify(this.#state)}\n`));
    this.#rememberedAt = this.#state.uptime.ms;
  }
}

const iso = (unixMs: number): string => (Math.abs(unixMs) <= 8.64e15 ? new Date(unixMs).toISOString() : `${unixMs} ms`);

const bounded = (late: readonly LateLeaves[]): readonly LateLeaves[] => {
  const [first, second, ...rest] = late;
  if (late.length <= MAX_LATE || first === undefined || second === undefined) return late;
  return [{ from: first.from, to: second.to, until: Math.max(first.until, second.until) }, ...rest];
};

const isNumber = (value: unknown): value is number => typeof value === 'number' && Number.isFinite(value);

const parsed = (bytes: Buffer, where: string): State => {
  try {
    const { reached, uptime: up, size, late, behindFrom, suspended } = JSON.parse(bytes.toString('utf8')) as Partial<State>;
    const whole =
      isNumber(reached) &&
      isNumber(size) &&
      up !== undefined &&
      typeof up.boot === 'string' &&
      isNumber(up.ms) &&
      Array.isArray(late) &&
      late.every(({ from, to, until }) => isNumber(from) && isNumber(to) && isNumber(until)) &&
      (behindFrom === null || isNumber(behindFrom)) &&
      (suspended === null || typeof suspended === 'string');
    if (whole) return { reached, uptime: up, size, late, behindFrom, suspended };
  } catch {}
  throw new Error(`${where}/${KEY} cannot be read: what is known of the time is lost. Put it back, or remove it when the clock is right`);
};

const BOOT_ID = '/proc/sys/kernel/random/boot_id';

/** Where the machine does not tell its starts apart, each process is one. */
const machineUptime = (() => {
  let boot = `process ${process.pid} ${Math.random()}`;
  try {
    boot = readFileSync(BOOT_ID, 'utf8').trim();
  } catch {}
  return (): Uptime => ({ boot, ms: Math.round(uptime() * 1000) });
})();
