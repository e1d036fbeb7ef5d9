/** `npm test`: everything that needs no more than Node, npm, Envoy and OPA. Arguments go to Vitest, and only Vitest runs then. */
import { runStages, vitest } from './stages.ts';
import { staticStages } from './static_stages.ts';

const args = process.argv.slice(2);
// The end-to-end tests measure time: nothing else may run beside them.
const all = [
  staticStages(),
  vitest('unit and wasm tests', '--project', 'unit', '--project', 'wasm'),
  vitest('end-to-end and fault tests', '--project', 'e2e'),
];
process.exitCode = (await runStages(args.length > 0 ? [vitest('chosen tests', ...args)] : all)) ? 0 : 1;
