/** `npm run check`: the loop on a developer's desk, well under a minute. `--write` formats and repairs in place, `--full` tries as many generated cases as `npm test`. */
import { policyStages } from './policy_stages.ts';
import { runStages, script, vitest } from './stages.ts';

const write = process.argv.includes('--write') ? ['--write'] : [];
const share = process.argv.includes('--full') ? '1' : '0.1';
process.exitCode = (await runStages([
  [
    { title: 'format and lint', command: 'node_modules/.bin/biome', args: ['check', ...write] },
    script('types', 'typescript/bin/tsc', '-p', '.'),
    ...policyStages(),
  ],
  { ...vitest('unit and wasm tests', '--project', 'unit', '--project', 'wasm'), env: { FUZZ_SHARE: share } },
]))
  ? 0
  : 1;
