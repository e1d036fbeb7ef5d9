// A root context: one configuration of the filter in one worker's VM, with its emitter and the requests that wait for the sink.
import { utf8 } from '../abi/bytes';
import {
  actAs,
  BufferType,
  bufferBytes,
  done,
  givenAt,
  givenLength,
  LogLevel,
  log,
  Metric,
  MetricType,
  monotonicNanos,
  setTickPeriod,
} from '../abi/host';
import { parseConfig, TapConfig } from '../tap/config';
import { Admission, Emitter } from '../tap/emitter';

const TICK_MS: u32 = 50;
/** How long a request waits for the sink. */
const PATIENCE: u64 = 2_000_000_000;
/** How long an old configuration's emitter may still deliver. */
const DRAIN: u64 = 10_000_000_000;

/** What waits for the sink; told once. */
export abstract class Waiting {
  context: u32 = 0;
  deadline: u64 = 0;
  abstract resume(admission: Admission): void;
  /** Asks for its room again. */
  abstract ask(): Admission;
}

export class Root {
  emitter: Emitter;
  refused: Metric = new Metric(MetricType.COUNTER, 'sluice_http_refused');
  replaced: Metric = new Metric(MetricType.COUNTER, 'sluice_http_replaced');
  cut: Metric = new Metric(MetricType.COUNTER, 'sluice_http_cut');
  masked: Metric = new Metric(MetricType.COUNTER, 'sluice_http_masked_values');
  private waiting: Waiting[] = [];
  private drainUntil: u64 = 0;

  private constructor(
    private context: u32,
    config: TapConfig,
    software: string,
  ) {
    this.emitter = new Emitter(
      utf8(config.tapCluster),
      utf8(software),
      config.queueBytes,
      config.recordBytes,
      config.tapRequire,
      config.lag,
    );
    setTickPeriod(TICK_MS);
  }

  /** proxy_on_configure; null when the configuration is refused. */
  static configure(context: u32, size: u32, software: string): Root | null {
    bufferBytes(BufferType.PLUGIN_CONFIGURATION, size);
    const config = parseConfig(String.UTF8.decodeUnsafe(givenAt, givenLength));
    if (!config) {
      log(
        LogLevel.CRITICAL,
        'the configuration is not {"tap_cluster": "NAME", "tap_require": true, "queue_bytes": 16384 to 1073741824, "record_bytes": the same, "lag_ms": 100 to 60000}',
      );
      return null;
    }
    return new Root(context, config, software);
  }

  wait(exchange: Waiting, context: u32): void {
    exchange.context = context;
    exchange.deadline = monotonicNanos() + PATIENCE;
    this.waiting.push(exchange);
  }

  forget(exchange: Waiting): void {
    const i = this.waiting.indexOf(exchange);
    if (i >= 0) this.waiting.splice(i, 1);
  }

  tick(): void {
    this.emitter.tick();
    if (this.waiting.length) this.settle(monotonicNanos());
    if (this.drainUntil && (this.emitter.idle || monotonicNanos() > this.drainUntil)) {
      this.drainUntil = 0;
      done();
    }
  }

  received(token: u32, size: u32): void {
    if (this.emitter.received(token, size)) this.settle(0);
  }

  /** Lets those go on that can, refuses those whose time is over. `now` 0: nobody's is. */
  private settle(now: u64): void {
    const waiting = this.waiting;
    this.waiting = [];
    for (let i = 0; i < waiting.length; i++) {
      const exchange = waiting[i],
        admission = exchange.ask();
      if ((admission == Admission.AWAY || admission == Admission.BUSY) && now <= exchange.deadline) {
        this.waiting.push(exchange);
        continue;
      }
      actAs(exchange.context);
      exchange.resume(admission);
    }
    actAs(this.context);
  }

  /** proxy_on_done: true when there is nothing left to deliver. */
  drain(): bool {
    if (this.emitter.idle) return true;
    this.drainUntil = monotonicNanos() + DRAIN;
    return false;
  }

  /** proxy_on_delete. */
  free(): void {
    this.emitter.free();
  }
}
