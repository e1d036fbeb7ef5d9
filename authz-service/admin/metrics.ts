/**
 * What Prometheus reads. What is counted on the path of every request is counted in plain numbers here (tens of nanoseconds), or by the parts themselves
 * and read when asked; prom-client only spells it.
 */
import { collectDefaultMetrics, type Metric, type MetricType, Registry } from 'prom-client';
import type { Approvals } from '../approval/approvals.ts';

const EFFECTS = ['allow', 'deny', 'hold', 'error'] as const;
type Effect = (typeof EFFECTS)[number];
export type Stage = 'identity' | 'policy' | 'hold' | 'tap';

export interface Sample {
  readonly value: number;
  readonly labels?: Readonly<Record<string, string>>;
}

/** Upper bounds of the buckets, seconds. */
const QUICK = [0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
const HUMAN = [1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 14400, 86400];
const STAGES: Record<Stage, readonly number[]> = { identity: QUICK, policy: QUICK, hold: HUMAN, tap: QUICK };
/** Rules and targets come from policies and configurations that may be reloaded any number of times; past these bounds they are counted as `other`. */
const MAX_RULES_PER_TARGET = 100;
const MAX_TARGETS = 1000;
const MAX_SERIES = 2000;
const OTHER = 'other';

export class Histogram {
  readonly #bounds: readonly number[];
  readonly #counts: Float64Array;
  #sum = 0;

  constructor(bounds: readonly number[]) {
    this.#bounds = bounds;
    this.#counts = new Float64Array(bounds.length + 1);
  }

  observe(seconds: number): void {
    let bucket = 0;
    while (bucket < this.#bounds.length && seconds > (this.#bounds[bucket] as number)) bucket += 1;
    (this.#counts[bucket] as number) += 1;
    this.#sum += seconds;
  }

  /** As Prometheus counts: every bucket holds those below it, too. */
  samples(name: string, labels: Readonly<Record<string, string>>): (Sample & { metricName: string })[] {
    let count = 0;
    const buckets = Array.from(this.#counts, (inBucket, n) => {
      count += inBucket;
      return {
        metricName: `${name}_bucket`,
        labels: { ...labels, le: n < this.#bounds.length ? String(this.#bounds[n]) : '+Inf' },
        value: count,
      };
    });
    return [...buckets, { metricName: `${name}_sum`, labels, value: this.#sum }, { metricName: `${name}_count`, labels, value: count }];
  }
}

export class Metrics {
  readonly #registry = new Registry();
  readonly #decisions = new Map<string, Map<string, Record<Effect, number>>>();
  readonly #stages = Object.fromEntries(Object.entries(STAGES).map(([stage, bounds]) => [stage, new Histogram(bounds)])) as Record<
    Stage,
    Histogram
  >;
  readonly contentType = this.#registry.contentType;

  constructor() {
    this.read('counter', 'sluice_decisions_total', 'Decisions, by what was decided, for which target, by which rule.', () =>
      this.#decided(),
    );
    this.#add('histogram', 'sluice_stage_seconds', 'Time that a request spent in each stage.', () =>
      Object.entries(this.#stages).flatMap(([stage, histogram]) => histogram.samples('sluice_stage_seconds', { stage })),
    );
  }

  /** Counts what was decided. An effect of no other kind is an `error`: nothing could be decided. */
  decided(effect: string, target: string, rule: string): void {
    const counts = this.#cell(target, rule);
    if (effect === 'allow' || effect === 'deny' || effect === 'hold') counts[effect] += 1;
    else counts.error += 1;
  }

  observe(stage: Stage, seconds: number): void {
    this.#stages[stage].observe(seconds);
  }

  /** A metric whose owner knows its value: asked at each scrape. One that throws is left out, and counted. */
  read(type: 'counter' | 'gauge', name: string, help: string, samples: () => number | readonly Sample[]): void {
    this.#add(type, name, help, () => {
      const found = samples();
      return typeof found === 'number' ? [{ value: found }] : found;
    });
  }

  /** A counter of this registry's own, by one label of few values. */
  counter(name: string, help: string, label?: string): { inc(value?: string): void } {
    const counts = new Map<string, number>(label ? [] : [['', 0]]);
    this.read('counter', name, help, () =>
      [...counts].map(([value, count]) => ({ value: count, ...(label ? { labels: { [label]: value } } : {}) })),
    );
    return {
      inc: (value = '') => {
        const known = counts.has(value) || counts.size < MAX_TARGETS ? value : OTHER;
        counts.set(known, (counts.get(known) ?? 0) + 1);
      },
    };
  }

  /** A counter by several labels whose values may be many: past a bound they are counted as `other`, and no count is lost. */
  counts(name: string, help: string, labels: readonly string[]): { add(values: readonly string[], count?: number): void } {
    const series = new Map<string, { readonly labels: Readonly<Record<string, string>>; value: number }>();
    const named = (values: readonly string[]) => Object.fromEntries(labels.map((label, at) => [label, values[at] ?? '']));
    this.read('counter', name, help, () => [...series.values()]);
    return {
      add: (values, count = 1) => {
        const key = values.join('\n');
        const found =
          series.get(key) ??
          bounded(series, key, MAX_SERIES, (kept) => ({ labels: named(kept ? values : labels.map(() => OTHER)), value: 0 }));
        found.value += count;
      },
    };
  }

  histogram(name: string, help: string, bounds: readonly number[] = QUICK): Histogram {
    const histogram = new Histogram(bounds);
    this.#add('histogram', name, help, () => histogram.samples(name, {}));
    return histogram;
  }

  /** The process's own: memory, CPU, event loop, collections of garbage. */
  process(): void {
    collectDefaultMetrics({ register: this.#registry });
  }

  /** The exposition, as of now. */
  text(): Promise<string> {
    return this.#registry.metrics();
  }

  #cell(target: string, rule: string): Record<Effect, number> {
    const rules = bounded(this.#decisions, target, MAX_TARGETS, () => new Map<string, Record<Effect, number>>());
    return bounded(rules, rule, MAX_RULES_PER_TARGET, () => ({ allow: 0, deny: 0, hold: 0, error: 0 }));
  }

  #decided(): Sample[] {
    return [...this.#decisions].flatMap(([target, rules]) =>
      [...rules].flatMap(([rule, counts]) =>
        EFFECTS.filter((effect) => counts[effect] > 0).map((effect) => ({ value: counts[effect], labels: { effect, target, rule } })),
      ),
    );
  }

  #add(type: `${MetricType}` | 'counter' | 'gauge' | 'histogram', name: string, help: string, samples: () => readonly Sample[]): void {
    const get = async (): Promise<object> => {
      let values: readonly Sample[] = [];
      try {
        values = samples();
      } catch {
        // A part that is closing has nothing to say; the others have.
      }
      return { name, help, type, values: values.map(({ labels = {}, ...sample }) => ({ labels, ...sample })), aggregator: 'sum' };
    };
    // The registry asks a metric for its name and `get` alone; the classes of prom-client keep hash maps that cost more than what is counted.
    this.#registry.registerMetric({ name, help, type, get } as unknown as Metric);
  }
}

/** The key's own entry, or beyond the bound the one that the others share. */
const bounded = <T>(map: Map<string, T>, key: string, most: number, make: (kept: boolean) => T): T => {
  const found = map.get(key);
  if (found) return found;
  const name = map.size < most ? key : OTHER;
  const entry = map.get(name) ?? make(name === key);
  map.set(name, entry);
  return entry;
};

/** Holds and grants open, and how holds ended: pass what it returns as `onEnded`. */
export const approvalMetrics = (
  metrics: Metrics,
): { readonly onEnded: (state: string, heldMs: number) => void; watch(approvals: Approvals): void } => {
  const ended = metrics.counter('sluice_holds_ended_total', 'Held requests that have ended, by how.', 'state');
  const held = metrics.histogram('sluice_hold_seconds', 'From the hold of a request to its end, whether or not its caller waited.', HUMAN);
  return {
    onEnded: (state, heldMs) => {
      ended.inc(state);
      held.observe(heldMs / 1000);
    },
    watch: (approvals) => {
      metrics.read('gauge', 'sluice_holds_open', 'Requests that wait for an answer.', () => approvals.open.holds);
      metrics.read('gauge', 'sluice_grants_open', 'Approvals that wait for their request to be sent again.', () => approvals.open.grants);
    },
  };
};
