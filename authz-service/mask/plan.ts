/** Obligations of a decision → the filter's plan. */
import { createHmac } from 'node:crypto';
import type { SecretSource } from '../credential/credential.ts';
import type { Secret } from '../credential/secret.ts';
import { isError, type SecretReader, type SecretSurroundings, secretReader } from '../credential/secret_source.ts';
import type { Obligation } from '../decision/decision.ts';
import { encodePlan } from './encode.ts';
import { DETECTORS, type MaskRule, RECORD_RULES, type Selector } from './rule.ts';

/** The section `masking` of the configuration. */
export interface MaskingTerms {
  /** Of hash masking; each target's key is derived from it. A changed file is read again: the tokens change with it. */
  readonly key?: SecretSource | undefined;
  /** Custom patterns by name. */
  readonly patterns: Readonly<Record<string, string>>;
  readonly maxTokenBytes: number;
}

/** How much of the payload of one request or command is recorded, in bytes of each direction. */
export interface RecordLimits {
  readonly maxRequestBytes: number;
  readonly maxResponseBytes: number;
}

/** The limits of a target; another object when they have changed. */
export type LimitsOf = (target: string) => RecordLimits;

/** An obligation that this configuration cannot carry out. Its message holds no secret. */
export class ObligationError extends Error {
  readonly code: 'no_key' | 'no_pattern' | 'no_detector' | 'unsupported';

  constructor(code: ObligationError['code'], message: string) {
    super(message);
    this.name = 'ObligationError';
    this.code = code;
  }
}

const PATTERN = 'pattern:';

/**
 * A function from a target's name and a decision's obligations to the plan in base64, empty when nothing is to be masked or recorded.
 * It throws an `ObligationError` rather than leave one out.
 */
export function planner(
  terms: MaskingTerms,
  limitsOf: LimitsOf,
  surroundings: SecretSurroundings = { env: process.env, now: Date.now },
): (target: string, obligations: readonly Obligation[]) => string {
  const keys = new TargetKeys(terms.key, surroundings);
  // Few lists of obligations answer most requests, and those that are the same are one object.
  const plans = new WeakMap<readonly Obligation[], Map<string, Plan>>();
  return (target, obligations) => {
    const known = plans.get(obligations)?.get(target);
    const limits = limitsOf(target);
    if (known && known.limits === limits && (known.secret === undefined || known.secret === keys.secret())) return known.plan;
    const rules: MaskRule[] = [];
    let records = false;
    for (const obligation of obligations) {
      if (obligation.type === 'record') {
        records = true;
        continue;
      }
      const { method, keepFirst, keepLast } = obligation;
      const id = obligation.type === 'mask' ? obligation.field : obligation.detector;
      const select = obligation.type === 'mask' ? { path: obligation.field } : detection(obligation.detector, terms.patterns);
      rules.push({ id, select, method, keepFirst, keepLast, ...(method === 'hash' && { key: keys.of(target) }) });
    }
    const secret = rules.some(({ method }) => method === 'hash') ? keys.secret() : undefined;
    const record = records
      ? { maxRequest: limits.maxRequestBytes, maxResponse: limits.maxResponseBytes, requestRules: rules, ownRules: RECORD_RULES }
      : undefined;
    const plan = rules.length === 0 && !record ? '' : encodePlan(rules, terms.maxTokenBytes, record).toString('base64');
    if (!plans.has(obligations)) plans.set(obligations, new Map());
    plans.get(obligations)?.set(target, { plan, secret, limits });
    return plan;
  };
}

interface Plan {
  readonly plan: string;
  /** What its keys were derived from; undefined when it has none. */
  readonly secret: Secret | undefined;
  readonly limits: RecordLimits;
}

/** Keys by target, of the secret as it is now. */
export class TargetKeys {
  readonly #reader: SecretReader | undefined;
  readonly #keys = new Map<string, Uint8Array>();
  #of: Secret | undefined;

  constructor(source: SecretSource | undefined, surroundings: SecretSurroundings = { env: process.env, now: Date.now }) {
    this.#reader = source && secretReader(source, surroundings);
  }

  /** @throws {ObligationError} when there is none */
  secret(): Secret {
    if (!this.#reader) throw new ObligationError('no_key', 'the policy masks by hash, and the configuration has no masking.key');
    const outcome = this.#reader.read();
    if (isError(outcome)) throw new ObligationError('no_key', `masking.key: ${outcome.error.message}`);
    return outcome.secret;
  }

  of(target: string): Uint8Array {
    const secret = this.secret();
    if (secret !== this.#of) this.#keys.clear();
    this.#of = secret;
    let key = this.#keys.get(target);
    if (!key) {
      key = createHmac('sha256', secret.reveal()).update(`sluice mask v1\0${target}`).digest();
      this.#keys.set(target, key);
    }
    return key;
  }
}

function detection(name: string, patterns: Readonly<Record<string, string>>): Selector {
  const builtIn = DETECTORS.find((detector) => detector === name);
  if (builtIn) return { detector: builtIn };
  if (!name.startsWith(PATTERN)) throw new ObligationError('no_detector', `there is no detector ${name}`);
  const pattern = Object.hasOwn(patterns, name.slice(PATTERN.length)) ? patterns[name.slice(PATTERN.length)] : undefined;
  if (pattern === undefined)
    throw new ObligationError('no_pattern', `the configuration has no pattern ${name.slice(PATTERN.length)} under masking.patterns`);
  return { pattern };
}
