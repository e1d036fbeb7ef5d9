/** Time-outs and bounds of the generated configuration that follow from Sluice's own: each place that could end a hold early is set from here. */
import type { Config, PostgresTarget } from '../config/config.ts';

export interface Limits {
  /** How long Envoy waits for the answer to a check: the longest hold, and time to identify, judge and record around it. */
  readonly checkMs: number;
  /** How long a stream may be silent: longer than a check, so that it is the check that ends. */
  readonly idleMs: number;
  /** Checks, and requests to a target, under way at once; a burst of released holds arrives at the target together. */
  readonly requests: number;
  /** What Envoy buffers of one stream in each direction before it stops reading. */
  readonly bufferBytes: number;
  /** The same of a database's session: rows come in bulk, and each byte of them passes the filter. */
  readonly sessionBufferBytes: number;
}

const AROUND_HOLD_MS = 30_000;
const BESIDE_HOLDS = 8_192;

export const limitsOf = ({ approvals }: Config): Limits => ({
  checkMs: approvals.maxTtlMs + AROUND_HOLD_MS,
  idleMs: approvals.maxTtlMs + 2 * AROUND_HOLD_MS,
  requests: approvals.maxOpen + BESIDE_HOLDS,
  bufferBytes: 256 * 1024,
  sessionBufferBytes: 1024 * 1024,
});

/** How long a database's session may be silent, 0 for ever: pools keep idle sessions, and a held command is silent, too. */
export const sessionIdleMs = (config: Config, { idleTimeoutMs }: PostgresTarget): number =>
  idleTimeoutMs === 0 ? 0 : Math.max(idleTimeoutMs, limitsOf(config).idleMs);
