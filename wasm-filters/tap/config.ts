// What every filter is told of the tap, as members of its plugin configuration.
import { FlatObject, Scanner } from '../abi/flat_json';

const MIN_QUEUE: u32 = 16 << 10;
const MAX_QUEUE: u32 = 1 << 30;
const MIN_LAG: u64 = 100;
const MAX_LAG: u64 = 60_000;
const MILLISECOND: u64 = 1_000_000;
/** One byte of length in the message that names the cluster. */
const MAX_CLUSTER = 100;

/** A filter that needs more extends it. */
export class TapConfig extends FlatObject {
  /** The cluster of the tap sink. */
  tapCluster: string = '';
  /** Whether a request may pass only while the sink takes events. */
  tapRequire: bool = true;
  /** Bound of the events kept for the sink, per worker. */
  queueBytes: u32 = 4 << 20;
  /** How long an event may wait for its acknowledgement before nothing new passes, nanoseconds. */
  lag: u64 = 5000 * MILLISECOND;
  /** Bound of the recorded payload kept for the sink and promised to exchanges under way, per worker. */
  recordBytes: u32 = 64 << 20;

  protected member(name: string, scanner: Scanner): bool {
    if (name == 'tap_cluster') {
      this.tapCluster = scanner.string();
      return isCluster(this.tapCluster);
    }
    const word = scanner.word();
    if (name == 'tap_require') {
      this.tapRequire = word == 'true';
      return word == 'true' || word == 'false';
    }
    if (word.length == 0 || word.length > 10) return false;
    const value = <u64>I64.parseInt(word);
    if (value.toString() != word) return false;
    if (name == 'queue_bytes') {
      this.queueBytes = <u32>min(value, MAX_QUEUE);
      return value >= MIN_QUEUE && value <= MAX_QUEUE;
    }
    if (name == 'record_bytes') {
      this.recordBytes = <u32>min(value, MAX_QUEUE);
      return value >= MIN_QUEUE && value <= MAX_QUEUE;
    }
    this.lag = value * MILLISECOND;
    return name == 'lag_ms' && value >= MIN_LAG && value <= MAX_LAG;
  }
}

export function isCluster(name: string): bool {
  return name.length > 0 && name.length <= MAX_CLUSTER;
}

/** Null when the text is not exactly such an object, or a value is out of its range. */
export function parseConfig(text: string): TapConfig | null {
  const config = new TapConfig();
  return config.read(text) && config.tapCluster.length > 0 ? config : null;
}
