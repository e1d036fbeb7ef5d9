/** The WASM modules, compiled from AssemblyScript; the build itself skips what has not changed. */
import { node, root } from './paths.mjs';
import { SetupError } from './progress.mjs';
import { run } from './run.mjs';

export async function wasm({ say }) {
  const { code, output } = await run(node, ['scripts/build-wasm.ts'], { cwd: root, onLine: say });
  if (code !== 0) throw new SetupError(`the WASM filters do not compile\n${output.trimEnd()}`);
  return / built /.test(output) ? 'built' : { already: 'as its sources' };
}
