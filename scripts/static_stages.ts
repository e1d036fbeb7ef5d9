import { type Stage, script } from './stages.ts';
import { opaBin } from './tools.ts';

const opa = (title: string, ...args: string[]): Stage => ({ title, command: opaBin(), args });

/** What is seen without running the product, and the tests of the policy. @param lint options of Biome, as `--write` */
export const staticStages = (...lint: string[]): Stage[] => [
  { title: 'format and lint', command: 'node_modules/.bin/biome', args: ['check', ...lint] },
  script('types', 'typescript/bin/tsc', '-p', '.'),
  opa('policy format', 'fmt', '--fail', '--list', 'policies'),
  opa('policy types', 'check', '--strict', '--schema', 'policies/schemas', 'policies/sluice'),
  opa('policy tests', 'test', '--timeout', '60s', '--ignore', 'schemas', 'policies'),
];
