/**
 * The outcomes of one package's tests, as `go test -json` tells them. A panic ends all tests of its package at once: those that it kept from ending run again, without the
 * others, for as long as that brings any of them to an end.
 */
import type { Outcome } from './driver_suite.ts';

/** @returns the lines of `go test -json` for these tests; for all of the package where none is named */
export type RunTests = (only: readonly string[]) => AsyncIterable<string>;

/** @param say gets what the tests print */
export async function goTest(run: RunTests, say: (output: string) => void = () => {}): Promise<Map<string, Outcome>> {
  const ended = new Map<string, Outcome>();
  for (let only: string[] = []; ; ) {
    const seen = new Map<string, Outcome>();
    for await (const line of run(only)) {
      if (!line.startsWith('{')) continue;
      const { Action: action, Test: test, Output: output } = JSON.parse(line) as { Action: string; Test?: string; Output?: string };
      if (test !== undefined && isOutcome(action)) seen.set(test, action);
      if (output !== undefined) say(output);
    }
    for (const [test, outcome] of seen) ended.set(test, outcome);
    const unfinished = [...seen].filter(([test, outcome]) => outcome === 'run' && !test.includes('/')).map(([test]) => test);
    if (unfinished.length === 0 || (only.length > 0 && unfinished.length >= only.length)) return ended;
    only = unfinished;
  }
}

const isOutcome = (action: string): action is Outcome => ['pass', 'fail', 'skip', 'run'].includes(action);
