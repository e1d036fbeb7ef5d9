import type { Stage } from './stages.ts';
import { opaBin } from './tools.ts';

const opa = (title: string, ...args: string[]): Stage => ({ title, command: opaBin(), args });

export const policyTests = (): Stage => opa('policy tests', 'test', '--timeout', '60s', '--ignore', 'schemas', 'policies');

export const policyStages = (): Stage[] => [
  opa('policy format', 'fmt', '--fail', '--list', 'policies'),
  opa('policy types', 'check', '--strict', '--schema', 'policies/schemas', 'policies/sluice'),
  policyTests(),
];
