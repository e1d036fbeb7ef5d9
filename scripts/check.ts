/** `npm run check`: the loop on a developer's desk, well under a minute. `--write` formats and repairs in place, `--full` tries as many generated cases as `npm test`. */
import { runStages, vitest } from './stages.ts';
import { staticStages } from './static_stages.ts';

const write = process.argv.includes('--write') ? ['--write'] : [];
const share = process.argv.includes('--full') ? '1' : '0.1';
process.exitCode = (await runStages([
  staticStages(...write),
  { ...vitest('unit and wasm tests', '--project', 'unit', '--project', 'wasm'), env: { FUZZ_SHARE: share } },
]))
  ? 0
  : 1;
