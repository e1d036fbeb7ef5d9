// The plugin's configuration: one flat JSON object, written by the generator of the Envoy configuration, so read without mercy: anything odd is refused, and Envoy says so at start.

export class FilterConfig {
  /** The cluster of the tap sink. */
  tapCluster: string = '';
  /** Whether a request may pass only while the sink takes events. */
  tapRequire: bool = true;
  /** Bound of the events kept for the sink, per worker. */
  queueBytes: u32 = 4 << 20;
}

const MIN_QUEUE: u32 = 16 << 10;
const MAX_QUEUE: u32 = 1 << 30;
/** One byte of length in the message that names the cluster. */
const MAX_CLUSTER = 100;

class Scanner {
  position: i32 = 0;
  failed: bool = false;
  constructor(private text: string) {}

  get done(): bool {
    return this.position == this.text.length;
  }

  /** The next character after white space, or -1. */
  peek(): i32 {
    for (; this.position < this.text.length; this.position++) {
      const c = this.text.charCodeAt(this.position);
      if (c != 0x20 && c != 0x0a && c != 0x0d && c != 0x09) return c;
    }
    return -1;
  }

  take(c: i32): bool {
    if (this.peek() != c) return false;
    this.position++;
    return true;
  }

  expect(c: i32): void {
    if (!this.take(c)) this.failed = true;
  }

  /** Without escapes: no value here needs one. */
  string(): string {
    this.expect(0x22);
    const start = this.position,
      end = this.text.indexOf('"', start);
    if (this.failed || end < 0 || this.text.slice(start, end).includes('\\')) {
      this.failed = true;
      return '';
    }
    this.position = end + 1;
    return this.text.slice(start, end);
  }

  word(): string {
    this.peek();
    const start = this.position;
    while (this.position < this.text.length) {
      const c = this.text.charCodeAt(this.position);
      if (!((c >= 0x61 && c <= 0x7a) || (c >= 0x30 && c <= 0x39))) break;
      this.position++;
    }
    return this.text.slice(start, this.position);
  }
}

function readMember(config: FilterConfig, name: string, scanner: Scanner): bool {
  if (name == 'tap_cluster') {
    config.tapCluster = scanner.string();
    return config.tapCluster.length > 0 && config.tapCluster.length <= MAX_CLUSTER;
  }
  const word = scanner.word();
  if (name == 'tap_require') {
    config.tapRequire = word == 'true';
    return word == 'true' || word == 'false';
  }
  if (name == 'queue_bytes' && word.length > 0 && word.length <= 10) {
    const value = <u64>I64.parseInt(word);
    config.queueBytes = <u32>min(value, MAX_QUEUE);
    return value.toString() == word && value >= MIN_QUEUE && value <= MAX_QUEUE;
  }
  return false;
}

/** Null when the text is not exactly such an object, or a value is out of its range. */
export function parseConfig(text: string): FilterConfig | null {
  const config = new FilterConfig(),
    scanner = new Scanner(text);
  scanner.expect(0x7b);
  if (!scanner.take(0x7d)) {
    do {
      const name = scanner.string();
      scanner.expect(0x3a);
      if (scanner.failed || !readMember(config, name, scanner)) return null;
    } while (scanner.take(0x2c));
    scanner.expect(0x7d);
  }
  return scanner.failed || scanner.peek() >= 0 || config.tapCluster.length == 0 ? null : config;
}
