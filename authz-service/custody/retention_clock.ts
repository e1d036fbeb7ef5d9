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
  /** How much was reached when that began, Unix milliseconds. */
  readonly behindSince: number | null;
  /** The latest that anybody has said since, at this uptime, also where they have taken it back: nothing that was recorded meanwhile counts as older. */
  readonly latest: number | null;
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
  /** Told when leaves have waited for the clock for long (why) and when they do no more, while deletion is not suspended as a whole. */
  readonly stalled?: (why: string | undefined) => void;
  /** Unix milliseconds. */
  readonly now?: () => number;
  readonly uptime?: () => Uptime;
}

/** Less than this is how clocks run, and are set right. */
const TOLERANCE_MS = 60_000;
const REMEMBER_MS = 60_000;
/** Leaves that wait for the clock for longer are told of: it does not come right by itself. */
const STALLED_MS = 3_600_000;
const KEY = 'clock';
/** The clock does not stand behind. */
const AGREES = { behindFrom: null, behindSince: null, latest: null } as const;
/** Beyond this, neighbours are taken together. */
const MAX_LATE = 100;

export class RetentionClock {
  readonly #options: Required<RetentionClockOptions>;
  #state: State;
  /** What each store and witness has said last, and at which uptime. */
  readonly #attested = new Map<string, { readonly unixMs: number; readonly at: number }>();
  #told: string | null = null;
  #toldStalled: string | undefined;
  #rememberedAt = Number.NEGATIVE_INFINITY;

  private constructor(options: Required<RetentionClockOptions>, state: State) {
    this.#options = options;
    this.#state = state;
  }

  /** Rejects with a `StorageError`, or with an `Error` when what it remembers cannot be read. */
  static async open(given: RetentionClockOptions): Promise<RetentionClock> {
    const options = { now: Date.now, uptime: machineUptime, stalled: () => {}, ...given };
    const { memory, newestEventMs, now, uptime: up, size } = options;
    const bytes = await memory.get(KEY);
    const state =
      bytes === undefined
        ? { reached: newestEventMs ?? now(), uptime: { boot: '', ms: 0 }, size: size(), late: [], ...AGREES, suspended: null }
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

  /** Why leaves have waited for the clock for long, though deletion is not suspended; `undefined`: none have. */
  get stalled(): string | undefined {
    const { suspended, behindFrom, behindSince, late } = this.#state;
    if (suspended !== null) return undefined;
    if (behindFrom !== null && this.#reached() - (behindSince ?? this.#reached()) >= STALLED_MS) {
      const [who, unixMs] = this.#latestSaid();
      const said = unixMs > this.#reached() ? `what ${who} says` : 'what was reached already';
      return `the clock is ${Math.round(-this.aheadMs / 1000)} s behind ${said}: what was recorded since, from leaf ${behindFrom} on, is not deleted`;
    }
    const waits = late.find(({ until }) => until >= this.#options.now() + STALLED_MS);
    return waits && `leaves ${waits.from}-${waits.to - 1} were recorded while it was said to be ${iso(waits.until)}, and age from then`;
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

  /**
   * Somebody else (`source`) says that this time has come: it counts as reached as far as the clock says so too, and makes a clock that says much less suspect,
   * until the same source says otherwise. To say the same once more is not to say that time stands still: a cosignature is seen more than once.
   */
  attest(source: string, unixMs: number): void {
    if (!Number.isFinite(unixMs)) return;
    const reached = Math.min(unixMs, this.#options.now());
    if (reached > this.#reached()) this.#state = { ...this.#present(), reached };
    if (unixMs !== this.#attested.get(source)?.unixMs) this.#attested.set(source, { unixMs, at: this.#options.uptime().ms });
  }

  /** The clock is right as it is: somebody has looked. So nothing that is recorded already was recorded later than it says. */
  async confirm(): Promise<void> {
    const { now, uptime: up, size } = this.#options;
    const [wall, { behindFrom, late }] = [now(), this.#state];
    const all = behindFrom === null || behindFrom === size() ? late : [...late, { from: behindFrom, to: size(), until: wall }];
    const capped = all.map((leaves) => ({ ...leaves, until: Math.min(leaves.until, wall) }));
    this.#attested.clear();
    this.#state = { ...this.#state, reached: wall, uptime: up(), size: size(), late: bounded(capped), ...AGREES, suspended: null };
    await this.#remember();
    this.#tell();
  }

  /** Looks at the clock: once it is open, and now and then. Rejects when what it has seen cannot be remembered. */
  async tick(): Promise<void> {
    const { now, size, boundMs } = this.#options;
    const before = this.#state;
    const wall = now();
    const known = Math.max(this.#reached(), this.#attestedNow());
    const ahead = wall - known;
    if (ahead > boundMs) this.#suspend(`the clock says ${iso(wall)}, and not more than ${iso(known)} is known to be reached`);
    else if (ahead < -boundMs) this.#suspend(`the clock says ${iso(wall)}, and ${iso(known)} was reached already`);
    else if (this.#state.suspended !== null) this.#state = { ...this.#state, suspended: null };
    this.#state = this.#present();
    const { behindFrom, behindSince, latest, late, reached } = this.#state;
    const until = Math.max(known, latest ?? known);
    // One that is far ahead now does not show when what was recorded behind it was: that stays open until it agrees, or somebody confirms it.
    if (ahead < -TOLERANCE_MS || (behindFrom !== null && ahead > boundMs))
      this.#state = { ...this.#state, behindFrom: behindFrom ?? this.#state.size, behindSince: behindSince ?? reached, latest: until };
    else {
      const grown =
        behindFrom === null || behindFrom === size() ? late : [...late, { from: behindFrom, to: size(), until: Math.max(until, wall) }];
      this.#state = { ...this.#state, size: size(), late: bounded(grown), ...AGREES };
    }
    this.#tell();
    const same = (['behindFrom', 'suspended', 'late'] as const).every((key) => before[key] === this.#state[key]);
    if (!same || this.#state.uptime.ms - this.#rememberedAt >= REMEMBER_MS) await this.#remember();
  }

  #reached(): number {
    const { reached, uptime: then } = this.#state;
    return reached + Math.max(0, this.#options.uptime().ms - then.ms);
  }

  /** The state as of now. */
  #present(): State {
    const { latest, uptime: then } = this.#state;
    const current = this.#options.uptime();
    return {
      ...this.#state,
      reached: this.#reached(),
      latest: latest === null ? null : latest + Math.max(0, current.ms - then.ms),
      uptime: current,
    };
  }

  #attestedNow(): number {
    return this.#latestSaid()[1];
  }

  /** Who says that it is latest, and what. */
  #latestSaid(): readonly [string, number] {
    const { ms } = this.#options.uptime();
    let said: readonly [string, number] = ['', Number.NEGATIVE_INFINITY];
    for (const [source, { unixMs, at }] of this.#attested) if (unixMs + ms - at > said[1]) said = [source, unixMs + ms - at];
    return said;
  }

  #suspend(why: string): void {
    if (this.#state.suspended === null) this.#state = { ...this.#state, suspended: why };
  }

  #tell(): void {
    const { suspended } = this.#state;
    if ((suspended === null) !== (this.#told === null)) {
      this.#told = suspended;
      this.#options.changed(suspended ?? undefined);
    }
    const { stalled } = this;
    const news = (stalled === undefined) !== (this.#toldStalled === undefined);
    this.#toldStalled = stalled;
    if (news) this.#options.stalled(stalled);
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
    const parts = JSON.parse(bytes.toString('utf8')) as Partial<State>;
    const { reached, uptime: up, size, late, behindFrom, behindSince = null, latest = null, suspended } = parts;
    const whole =
      isNumber(reached) &&
      isNumber(size) &&
      up !== undefined &&
      typeof up.boot === 'string' &&
      isNumber(up.ms) &&
      Array.isArray(late) &&
      late.every(({ from, to, until }) => isNumber(from) && isNumber(to) && isNumber(until)) &&
      (behindFrom === null || isNumber(behindFrom)) &&
      (behindSince === null || isNumber(behindSince)) &&
      (latest === null || isNumber(latest)) &&
      (suspended === null || typeof suspended === 'string');
    if (whole) return { reached, uptime: up, size, late, behindFrom, behindSince, latest, suspended };
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
