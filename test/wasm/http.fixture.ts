/** The compiled HTTP filter in the emulator, with a sink at its tap. */
import { fileURLToPath } from 'node:url';
import { encodePlan, type MaskRule, type RecordPlan } from '../../authz-service/mask/mask.ts';
import { RECORD_RULES } from '../../authz-service/mask/rule.ts';
import { HttpStream } from '../host/http_stream.ts';
import type { Headers } from '../host/pairs.ts';
import { TapSink } from '../host/tap_sink.ts';
import { WasmHost } from '../host/wasm_host.ts';
import { ruleOf } from './mask.vectors.ts';

const WASM = fileURLToPath(new URL('../../build/sluice-http.wasm', import.meta.url));

export interface FilterOptions {
  readonly tapRequire?: boolean;
  readonly queueBytes?: number;
  readonly recordBytes?: number;
  /** Whether the sink is there from the start. */
  readonly sink?: boolean;
}

export class Filter {
  readonly host: WasmHost;
  readonly sink: TapSink;
  #sessions = 0;

  constructor({ tapRequire = true, queueBytes = 4 << 20, recordBytes = 64 << 20, sink = true }: FilterOptions = {}) {
    this.host = new WasmHost({
      wasm: WASM,
      configuration: JSON.stringify({
        tap_cluster: 'sluice_tap',
        tap_require: tapRequire,
        queue_bytes: queueBytes,
        record_bytes: recordBytes,
      }),
    });
    this.sink = new TapSink(this.host);
    if (sink) this.sink.run(50);
  }

  /** A judged request whose response is masked by `rules`; none: passes as it is. */
  open(
    rules: readonly MaskRule[] = [],
    session = `ses-${++this.#sessions}`,
    maxTokenBytes = 0,
    lingers = false,
    record?: RecordPlan,
  ): HttpStream {
    const plan = rules.length === 0 && !record ? '' : Buffer.from(encodePlan(rules, maxTokenBytes, record)).toString('base64');
    return HttpStream.open(this.host, { metadata: { session, target: 'orders', plan }, lingers });
  }
}

/** What is recorded, as the service would plan it. */
export const recording = (rules: readonly MaskRule[] = [], { maxRequest = 10_000, maxResponse = 10_000 } = {}): RecordPlan => ({
  maxRequest,
  maxResponse,
  requestRules: rules,
  ownRules: RECORD_RULES,
});

export const CARD = ruleOf({ detector: 'payment-card' });
export const SSN = ruleOf({ path: '**.ssn' });

export const request = (method = 'GET', more: Headers = []): Headers => [
  [':method', method],
  [':path', '/customers'],
  [':authority', 'orders.example'],
  ...more,
];

export const response = (contentType: string | undefined, more: Headers = [], status = 200): Headers => [
  [':status', String(status)],
  ...(contentType === undefined ? [] : ([['content-type', contentType]] as Headers)),
  ...more,
];

/** Sends a body in pieces of `size`, the last with the end of the stream. */
export function send(stream: HttpStream, body: Buffer, size: number): void {
  for (let at = 0; at < body.length; at += size) stream.responseBody(body.subarray(at, at + size), at + size >= body.length);
  if (body.length === 0) stream.responseBody(body, true);
}

export const names = (headers: Headers | undefined): string[] => (headers ?? []).map(([name]) => name);
