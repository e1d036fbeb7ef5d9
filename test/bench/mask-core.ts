/**
 * The masking core alone, in Node: megabytes a second of CPU time over chunks of 64 KiB. `ratio` is the rate with one field of five masked by its path
 * over `JSON.parse` of the same document, measured in turns: what it costs to look at every byte of JSON at all, and build nothing.
 */
import { loadMask, type MaskRule } from '../../authz-service/mask/mask.ts';
import { chunked, ruleOf } from '../wasm/mask.vectors.ts';
import { median, report, rounded } from './figures.ts';

const ROUNDS = 9;
const GOAL = 1;
const CHUNK = 65_536;
const DETECTORS = ['payment-card', 'iban', 'us-ssn', 'email', 'phone'] as const;

const text = JSON.stringify(
  Array.from({ length: 100_000 }, (_, i) => ({
    id: 1_000_000 + i,
    name: `Customer Number ${i}`,
    ssn: `${100 + (i % 800)}-55-${1000 + (i % 9000)}`,
    city: 'Springfield',
    balance: i * 1.25,
  })),
);
const document = Buffer.from(text);
const chunks = chunked(document, CHUNK);
const mask = await loadMask();

const CASES: Readonly<Record<string, { readonly type?: string; readonly rules: readonly MaskRule[] }>> = {
  path_full: { rules: [ruleOf({ path: '**.ssn' })] },
  path_null: { rules: [ruleOf({ path: '[*].ssn', method: 'null' })] },
  path_drop: { rules: [ruleOf({ path: '**.ssn', method: 'drop' })] },
  path_hash: { rules: [ruleOf({ path: '**.ssn', method: 'hash' })] },
  path_elsewhere: { rules: [ruleOf({ path: 'customer.ssn' })] },
  one_detector: { rules: [ruleOf({ detector: 'us-ssn' })] },
  five_detectors: { rules: DETECTORS.map((detector) => ruleOf({ detector })) },
  pattern: { rules: [ruleOf({ pattern: '\\b\\d{3}-\\d\\d-\\d{4}\\b' })] },
  text_five_detectors: { type: 'text/plain', rules: DETECTORS.map((detector) => ruleOf({ detector })) },
};

/** MB of the document for each second of CPU. */
function rate(work: () => unknown): number {
  const since = process.cpuUsage().user;
  work();
  return document.length / (process.cpuUsage().user - since);
}

const rates: Record<string, number[]> = { json_parse: [] };
for (let round = 0; round < ROUNDS; round++) {
  rates.json_parse?.push(rate(() => JSON.parse(text)));
  for (const [name, { type = 'application/json', rules }] of Object.entries(CASES)) {
    rates[name] ??= [];
    rates[name].push(rate(() => mask.body(type, chunks, rules)));
  }
}
const medians = Object.fromEntries(Object.entries(rates).map(([name, of]) => [name, rounded(median(of))]));
report({
  name: 'mask-core',
  ratio: rounded((medians.path_full ?? 0) / (medians.json_parse ?? 1), 2),
  goal: GOAL,
  unit: 'MB per second of CPU time',
  mb_per_cpu_second: medians,
  setup: { rounds: ROUNDS, document_bytes: document.length, chunk_bytes: CHUNK, node: process.version },
});
