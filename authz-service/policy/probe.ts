/** Asks a bundle before it is put in force: does it load, and does it answer the decision document? */
import type { Bundle } from './compile.ts';
import { createEngine } from './engine.ts';
import { PolicyBuildError } from './error.ts';
import { instantiate, thrownReason } from './instance.ts';
import { SAMPLE } from './sample.ts';

/** The machine may be busy: this is about hanging, not about speed. */
const PROBE_MS = 2_000;

/** @throws {PolicyBuildError} when the bundle would not serve */
export async function probe({ wasm, data, revision }: Bundle): Promise<void> {
  const missing = missingBuiltins(wasm, data);
  if (missing.length > 0)
    throw new PolicyBuildError(
      missing.map(
        (name) =>
          `the built-in function ${name} does not exist in OPA's WASM${name.startsWith('time.now') ? '; the time is in input.time' : ''}`,
      ),
    );
  const engine = await createEngine({ wasm, data, revision, workers: 1, spares: 0, timeoutMs: PROBE_MS });
  try {
    const answer = await engine.evaluate(SAMPLE);
    if (!answer.ok)
      throw new PolicyBuildError([`the policy does not answer the decision document at data.sluice.decision: ${answer.reason}`]);
  } finally {
    await engine.close();
  }
}

function missingBuiltins(wasm: Uint8Array<ArrayBuffer>, data: unknown): readonly string[] {
  try {
    return instantiate(new WebAssembly.Module(wasm), data).missing;
  } catch (thrown) {
    throw new PolicyBuildError([`the module does not load: ${thrownReason(thrown)}`]);
  }
}
