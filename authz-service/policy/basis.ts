/**
 * What a decision rests on. The policy says it (`depends_on`), for it knows which of its rules fired; what it says is held against what its text reads of the
 * input at all (`opa deps`), so that a rule that looks at the time, or at a statement's text, ends the reuse of decisions whether or not anybody thought of it.
 */
import type { Parsed } from './document.ts';

/** Paths below `input` that the policy reads, as `request.commands`; `''` is all of it. */
export type Reads = readonly string[];

/** Words of `depends_on` that are added where the policy reads what they mean and has not said so. */
const WORDS: Readonly<Record<string, string>> = {
  time: 'time',
  run: 'run',
  session: 'session',
  'request.statement': 'statement',
  'request.parameters': 'parameters',
};

/** @param deps what `opa deps --format json` says @throws {Error} when it is no such JSON */
export function readsOf(deps: string): Reads {
  const { base } = JSON.parse(deps) as { base?: { value: unknown }[][] | null };
  // A policy that always says the same reads nothing.
  return (base ?? []).filter(([head]) => head?.value === 'input').map(([, ...path]) => path.map(({ value }) => String(value)).join('.'));
}

/** The decision with all that it may rest on. One that says nothing is left so: nothing is known of it. */
export function groundedIn(reads: Reads | undefined, parsed: Parsed): Parsed {
  if (!reads || !parsed.ok || parsed.decision.dependsOn.length === 0) return parsed;
  const { decision } = parsed;
  const more = Object.entries(WORDS)
    .filter(([path, word]) => !decision.dependsOn.includes(word) && reads.some((read) => overlap(read, path)))
    .map(([, word]) => word);
  return more.length === 0 ? parsed : { ok: true, decision: { ...decision, dependsOn: [...decision.dependsOn, ...more] } };
}

/** One is, or is within, the other. */
const overlap = (a: string, b: string): boolean => a === '' || a === b || a.startsWith(`${b}.`) || b.startsWith(`${a}.`);
