/**
 * Brings what Sluice needs: npm packages, Node 24, Envoy, OPA, the compiled filters. Needs Node 20 and npm alone. Every step is
 * skipped when its result is there; what is fetched is verified by its hash.
 */
import { pathToFileURL } from 'node:url';
import { dependencies, nodeBinary } from './setup/dependencies.mjs';
import { envoy } from './setup/envoy.mjs';
import { opa } from './setup/opa.mjs';
import { SetupError, step } from './setup/progress.mjs';
import { wasm } from './setup/wasm.mjs';

const STEPS = [
  ['Dependencies', dependencies],
  ['Node', nodeBinary],
  ['Envoy', envoy],
  ['OPA', opa],
  ['WASM filters', wasm],
];

const OLDEST_NODE = 20;

/** Ends the process when it cannot go on, after saying why. */
export async function setup() {
  try {
    if (Number.parseInt(process.versions.node, 10) < OLDEST_NODE)
      throw new SetupError(`Node ${OLDEST_NODE} or later is needed; this is ${process.versions.node}`);
    process.stderr.write('Set-up\n');
    for (const [title, run] of STEPS) await step(title, run);
  } catch (error) {
    process.stderr.write(`\n${error instanceof SetupError ? error.explain() : error.stack}\n`);
    process.exit(1);
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) await setup();
