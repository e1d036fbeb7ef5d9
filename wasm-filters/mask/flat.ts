// Rules on flat formats: fields of a form and columns of a table have a name and no depth.
import { Path, Step } from './path';
import { Plan } from './plan';
import { sameBytes } from './sink';

/** Whether a path can be said of a table's columns: one name (or `*`), after `**` or `[*]` (the rows) or neither. */
function isFlat(path: Path): bool {
  const last = path.length - 1,
    kind = path.kinds[last];
  return (kind == Step.MEMBER || kind == Step.ANY_MEMBER) && (last == 0 || (last == 1 && path.kinds[0] == Step.ANY_ELEMENT));
}

/** Whether every rule by path can be applied to a flat format. */
export function isFlatPlan(plan: Plan): bool {
  for (let i = 0; i < plan.rules.length; i++) {
    const path = plan.rules[i].path;
    if (path && !isFlat(path)) return false;
  }
  return true;
}

/** The first rule that selects the field of that name (UTF-8), or -1. */
export function ruleForName(plan: Plan, name: usize, length: u32): i32 {
  for (let i = 0; i < plan.rules.length; i++) {
    const path = plan.rules[i].path;
    if (!path) continue;
    const last = path.length - 1,
      wanted = path.names[last];
    if (path.kinds[last] == Step.ANY_MEMBER || (<u32>wanted.byteLength == length && sameBytes(changetype<usize>(wanted), name, length)))
      return i;
  }
  return -1;
}

/**
 * As `ruleForName`, of a form's field, whose name may be written as a path of its own: `ssn[]` and `ssn[0]` are `ssn`, and `customer[ssn]`
 * and `customer.ssn` have `ssn` in them, so a rule for any depth selects them too.
 */
export function ruleForField(plan: Plan, name: usize, length: u32): i32 {
  let rule = ruleForName(plan, name, length);
  const end = name + length;
  let first = true;
  for (let p = name; p < end; ) {
    const from = p;
    while (p < end && !isDelimiter(load<u8>(p))) p++;
    const part = <u32>(p - from);
    while (p < end && isDelimiter(load<u8>(p))) p++;
    if (part) rule = earlier(rule, ruleForPart(plan, from, part, first, end));
    first = false;
  }
  return rule;
}

function isDelimiter(b: u32): bool {
  return b == 0x2e || b == 0x5b || b == 0x5d;
}

/** The first rule for one part of a field's name: the whole of it but for indices, or any part under a rule for any depth. */
function ruleForPart(plan: Plan, part: usize, length: u32, first: bool, end: usize): i32 {
  const whole = first && areIndices(part + length, end);
  for (let i = 0; i < plan.rules.length; i++) {
    const path = plan.rules[i].path;
    if (!path) continue;
    const last = path.length - 1,
      wanted = path.names[last];
    if (!whole && !path.deep[last] && !path.deep[0]) continue;
    if (path.kinds[last] == Step.ANY_MEMBER || (<u32>wanted.byteLength == length && sameBytes(changetype<usize>(wanted), part, length)))
      return i;
  }
  return -1;
}

function areIndices(p: usize, end: usize): bool {
  for (; p < end; p++) if (!isDelimiter(load<u8>(p)) && <u32>load<u8>(p) - 0x30 >= 10) return false;
  return true;
}

function earlier(a: i32, b: i32): i32 {
  return a < 0 || (b >= 0 && b < a) ? b : a;
}
