// The masking core as a plain module for Node, with integers for an interface. authz-service/mask/mask.ts is its only caller: it writes
// into the input, calls, and reads the output. One plan and one body at a time.
import { ByteSink, createMasker, Masker, maskText, reasonOf, Status } from './masker';
import { parsePath, pathError, pathErrorAt } from './path';
import { compilePattern, patternError, patternErrorAt } from './pattern';
import { decodePlan, Plan } from './plan';

const input = new ByteSink(4096);
const output = new ByteSink(4096);
let plan: Plan = new Plan();
let masker: Masker | null = null;

/** Where to write `length` bytes of input. */
export function inputFor(length: i32): usize {
  input.reset();
  input.reserve(length);
  return input.ptr;
}
export function outputAt(): usize {
  return output.ptr;
}
export function outputLength(): i32 {
  return output.length;
}

/** The input is a plan. False when it is none; the one before then stays. */
export function loadPlan(length: i32): bool {
  const decoded = decodePlan(input.ptr, length);
  if (decoded) plan = decoded;
  return decoded != null;
}

/** How many values the plan's rule has masked since it was loaded or `resetCounts`. */
export function countOf(rule: i32): u64 {
  return plan.rules[rule].count;
}
export function resetCounts(): void {
  for (let i = 0; i < plan.rules.length; i++) plan.rules[i].count = 0;
}

/** The input is a content type: begins a body of it. False when it cannot be masked under the plan. */
export function begin(length: i32): bool {
  masker = createMasker(String.UTF8.decodeUnsafe(input.ptr, length), plan);
  return masker != null;
}

/** The input is a chunk; what is safe is in the output. */
export function write(length: i32): Status {
  output.reset();
  const current = masker;
  return current ? current.write(input.ptr, length, output) : Status.UNMASKABLE;
}

export function end(): Status {
  output.reset();
  const current = masker;
  masker = null;
  return current ? current.end(output) : Status.UNMASKABLE;
}

/** The input is one text. */
export function text(length: i32): Status {
  output.reset();
  return maskText(plan, input.ptr, length, output);
}

function say(text: string): void {
  output.reset();
  const bytes = String.UTF8.encode(text);
  output.write(changetype<usize>(bytes), bytes.byteLength);
}

export function reason(status: Status): void {
  say(reasonOf(status));
}

/** The input is a path: -1, or the byte at which it is none, and why in the output. */
export function checkPath(length: i32): i32 {
  if (parsePath(input.ptr, length)) return -1;
  say(pathError);
  return pathErrorAt;
}

/** Likewise, a pattern. */
export function checkPattern(length: i32): i32 {
  if (compilePattern(input.ptr, length)) return -1;
  say(patternError());
  return patternErrorAt();
}

/** Collects garbage: the module never does so by itself. Called from outside, when nothing of the module runs. */
export function collect(): void {
  __collect();
}
