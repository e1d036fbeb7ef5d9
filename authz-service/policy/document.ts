/** The decision document as the policy wrote it → `Decision`. Anything that is not one, to the last member, is malformed. */
import type { Decision, HoldTerms, Masking, MaskMethod, Obligation } from '../decision/decision.ts';

export type Parsed =
  | { readonly ok: true; readonly decision: Decision }
  | { readonly ok: false; readonly code: 'policy_undefined' | 'malformed_decision'; readonly reason: string };

/** From the method that shows least: of two obligations that select the same value the filter applies the first. */
const METHODS: readonly MaskMethod[] = ['drop', 'null', 'full', 'hash', 'partial'];
const KINDS: readonly Obligation['type'][] = ['mask', 'detect', 'record'];
const DETECTOR = /^(payment-card|iban|us-ssn|email|phone|pattern:[A-Za-z0-9][A-Za-z0-9._-]*)$/;
const APPROVER = /^(group|identity):.+$/;
const TTL = /^([1-9][0-9]{0,5})([smhd])$/;
const UNIT_MS: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const LONGEST_TTL_MS = 7 * 86_400_000;
const MOST_KEPT = 1024;
const MOST_APPROVERS_NEEDED = 100;

class Malformed extends Error {}

/** @param text what OPA's WASM answers: a JSON array, empty or with one `{"result": …}` */
export function parseResultSet(text: string): Parsed {
  let results: unknown;
  try {
    results = JSON.parse(text);
  } catch {
    return { ok: false, code: 'malformed_decision', reason: 'the answer of the policy is not JSON' };
  }
  if (Array.isArray(results) && results.length === 0)
    return { ok: false, code: 'policy_undefined', reason: 'the policy has no answer at data.sluice.decision' };
  if (!Array.isArray(results) || results.length !== 1 || !isObject(results[0]))
    return { ok: false, code: 'malformed_decision', reason: 'the answer of the policy is not one result' };
  return parseDecision(results[0].result);
}

/** @param document the parsed JSON of `data.sluice.decision`; its schema is policies/schemas/decision.json */
export function parseDecision(document: unknown): Parsed {
  try {
    return { ok: true, decision: decisionOf(document) };
  } catch (error) {
    if (!(error instanceof Malformed)) throw error;
    return { ok: false, code: 'malformed_decision', reason: `the policy's answer is not a decision: ${error.message}` };
  }
}

function decisionOf(document: unknown): Decision {
  const { effect, rule, reason, hold, credential, obligations, matched, depends_on } = members(
    document,
    'decision',
    ['effect', 'rule', 'reason'],
    ['hold', 'credential', 'obligations', 'matched', 'depends_on'],
  );
  const judged = {
    rule: textOf(rule, 'rule', 1),
    reason: textOf(reason, 'reason'),
    matched: matched === undefined ? [] : listOf(matched, 'matched', matchOf),
    dependsOn: depends_on === undefined ? [] : listOf(depends_on, 'depends_on', textOf),
  };
  if (hold !== undefined && effect !== 'hold') throw new Malformed('hold: only for the effect hold');
  switch (effect) {
    case 'deny':
      if (obligations !== undefined || credential !== undefined) throw new Malformed('a deny has no obligations and no credential');
      return { effect, ...judged };
    case 'allow':
      return { effect, ...judged, ...termsOf(obligations, credential) };
    case 'hold':
      return { effect, ...judged, ...termsOf(obligations, credential), hold: holdOf(hold) };
    default:
      throw new Malformed('effect: one of allow, deny, hold');
  }
}

const termsOf = (obligations: unknown, credential: unknown) => ({
  obligations: obligations === undefined ? [] : inOrder(listOf(obligations, 'obligations', obligationOf)),
  credential: credential === undefined ? '' : textOf(credential, 'credential'),
});

function holdOf(value: unknown): HoldTerms {
  const { approvers, quorum, ttl } = members(value, 'hold', ['approvers', 'quorum', 'ttl']);
  const named = listOf(approvers, 'hold.approvers', (approver, where) => {
    const text = textOf(approver, where);
    if (!APPROVER.test(text)) throw new Malformed(`${where}: group:NAME or identity:ID`);
    return text;
  });
  if (named.length === 0) throw new Malformed('hold.approvers: at least one');
  return { approvers: named, quorum: countOf(quorum, 'hold.quorum', 1, MOST_APPROVERS_NEEDED), ttlMs: ttlOf(ttl) };
}

function ttlOf(value: unknown): number {
  const [, amount, unit] = (typeof value === 'string' && TTL.exec(value)) || [];
  const ms = Number(amount) * (UNIT_MS[unit ?? ''] ?? Number.NaN);
  if (!(ms <= LONGEST_TTL_MS)) throw new Malformed('hold.ttl: a duration as 90s, 15m, 4h, at most 7d');
  return ms;
}

function obligationOf(value: unknown, where: string): Obligation {
  const type = isObject(value) ? value.type : undefined;
  switch (type) {
    case 'mask': {
      const { field, ...masking } = members(value, where, ['type', 'field', 'method'], ['keep_first', 'keep_last']);
      return { type, field: textOf(field, `${where}.field`, 1), ...maskingOf(masking, where) };
    }
    case 'detect': {
      const { detector, ...masking } = members(value, where, ['type', 'detector', 'method'], ['keep_first', 'keep_last']);
      if (typeof detector !== 'string' || !DETECTOR.test(detector)) throw new Malformed(`${where}.detector: unknown`);
      return { type, detector, ...maskingOf(masking, where) };
    }
    case 'record': {
      const { payload } = members(value, where, ['type', 'payload']);
      if (payload !== 'masked') throw new Malformed(`${where}.payload: only masked`);
      return { type, payload };
    }
    default:
      throw new Malformed(`${where}.type: unknown obligation`);
  }
}

function maskingOf({ method, keep_first = 0, keep_last = 0 }: Record<string, unknown>, where: string): Masking {
  const known = METHODS.find((name) => name === method);
  if (known === undefined) throw new Malformed(`${where}.method: one of ${METHODS.join(', ')}`);
  const keepFirst = countOf(keep_first, `${where}.keep_first`, 0, MOST_KEPT);
  const keepLast = countOf(keep_last, `${where}.keep_last`, 0, MOST_KEPT);
  return known === 'partial' ? { method: known, keepFirst, keepLast } : { method: known, keepFirst: 0, keepLast: 0 };
}

/** Fields before detectors (one is known to be sensitive, the other looks like it); of the same kind, what shows least first; each selector once. */
function inOrder(obligations: readonly Obligation[]): Obligation[] {
  const seen = new Set<string>();
  return obligations
    .toSorted((a, b) => KINDS.indexOf(a.type) - KINDS.indexOf(b.type) || shown(a) - shown(b) || (selector(a) < selector(b) ? -1 : 1))
    .filter((obligation) => {
      const known = seen.has(selector(obligation));
      seen.add(selector(obligation));
      return !known;
    });
}

const shown = (of: Obligation): number => (of.type === 'record' ? 0 : METHODS.indexOf(of.method) + of.keepFirst + of.keepLast);

const selector = (of: Obligation): string =>
  `${of.type} ${of.type === 'mask' ? of.field : of.type === 'detect' ? of.detector : of.payload}`;

function matchOf(value: unknown, where: string): { rule: string; effect: string; reason: string } {
  const { rule, effect, reason } = members(value, where, ['rule', 'effect', 'reason']);
  return { rule: textOf(rule, `${where}.rule`), effect: textOf(effect, `${where}.effect`), reason: textOf(reason, `${where}.reason`) };
}

function members(value: unknown, where: string, required: readonly string[], optional: readonly string[] = []): Record<string, unknown> {
  if (!isObject(value)) throw new Malformed(`${where}: not an object`);
  for (const name of required) if (!Object.hasOwn(value, name)) throw new Malformed(`${where}.${name}: missing`);
  for (const name of Object.keys(value))
    if (!required.includes(name) && !optional.includes(name)) throw new Malformed(`${where}.${name}: unknown member`);
  return value;
}

function listOf<T>(value: unknown, where: string, each: (item: unknown, where: string) => T): T[] {
  if (!Array.isArray(value)) throw new Malformed(`${where}: not a list`);
  return value.map((item, i) => each(item, `${where}[${i}]`));
}

function textOf(value: unknown, where: string, least = 0): string {
  if (typeof value !== 'string' || value.length < least) throw new Malformed(`${where}: not a text${least ? ', or empty' : ''}`);
  return value;
}

function countOf(value: unknown, where: string, least: number, most: number): number {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < least || value > most)
    throw new Malformed(`${where}: an integer from ${least} to ${most}`);
  return value;
}

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value);
