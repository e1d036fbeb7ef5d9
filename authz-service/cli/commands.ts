/** Every command of `sluice`: one row each. What is heavy is loaded when it is used. */

import { VERSION } from '../version.ts';
import { approvals, approve, deny, revoke } from './approvals.ts';
import { type Command, CommandError, flag, type Invocation, say, text } from './command.ts';
import { connect } from './connect.ts';
import { evidence } from './evidence.ts';
import { exporting } from './export.ts';
import { legalHold } from './legal_hold.ts';
import { log } from './log.ts';
import { login, logout } from './login.ts';
import { configFile, placeDetails, placeOptions } from './place.ts';
import { policy } from './policy.ts';
import { replay } from './replay.ts';
import { retention } from './retention.ts';
import { runs } from './runs.ts';
import { sessions } from './sessions.ts';
import { sql } from './sql.ts';
import { verify } from './verify.ts';

const config = { config: placeOptions.config };
const configDetail = ['-c, --config FILE', placeDetails[0][1]] as const;

const elsewhere = ['--elsewhere', 'the configuration is for another machine: files and secrets are not looked for here'] as const;

const check: Command = {
  name: 'check',
  usage: '[--config FILE] [--ports | --elsewhere]',
  summary: 'is everything right: configuration, policy, generated Envoy configuration?',
  details: [configDetail, ['--ports', 'also whether the ports to listen on are free'], elsewhere],
  options: { ...config, ports: { type: 'boolean' }, elsewhere: { type: 'boolean' } },
  takes: [0, 0],
  run: async (invocation) => {
    const [{ check: run }, { checkPolicy }] = await Promise.all([import('./check.ts'), import('../policy/check.ts')]);
    return await run({
      file: configFile(invocation),
      ports: flag(invocation, 'ports'),
      elsewhere: flag(invocation, 'elsewhere'),
      checkPolicy,
      say,
    });
  },
};

const envoyConfig: Command = {
  name: 'envoy-config',
  usage: '[--config FILE] [--only FILE] [--out DIR] [--elsewhere]',
  summary: 'print the Envoy configuration that is deployed',
  details: [
    configDetail,
    ['--only FILE', 'one of the files alone, as lds.yaml'],
    ['--out DIR', 'write the files there; a running Envoy reads the changed ones'],
    elsewhere,
  ],
  options: { ...config, only: { type: 'string' }, out: { type: 'string' }, elsewhere: { type: 'boolean' } },
  takes: [0, 0],
  run: async (invocation) => {
    const { envoyConfig: run } = await import('./envoy-config.ts');
    const [only, out] = [text(invocation, 'only'), text(invocation, 'out')];
    return run({
      file: configFile(invocation),
      elsewhere: flag(invocation, 'elsewhere'),
      ...(only !== undefined && { only }),
      ...(out !== undefined && { out }),
    });
  },
};

const version: Command = {
  name: 'version',
  usage: '',
  summary: 'print the version',
  details: [],
  options: {},
  takes: [0, 0],
  run: () => {
    say(`sluice ${VERSION}, Node ${process.versions.node}`);
    return 0;
  },
};

const help: Command = {
  name: 'help',
  usage: '[COMMAND]',
  summary: 'tell more about a command',
  details: [],
  options: {},
  takes: [0, 1],
  run: () => 0,
};

const running = (name: 'up' | 'serve', summary: string): Command => ({
  name,
  usage: '[--config FILE] [--accept-loss SIZE]',
  summary,
  details: [
    configDetail,
    [
      '--accept-loss SIZE',
      'once, after a refusal: go on without what is known of the record elsewhere, up to so many leaves; it says so itself',
    ],
  ],
  options: { ...config, 'accept-loss': { type: 'string' } },
  takes: [0, 0],
  run: async (invocation) => (await import('./up.ts'))[name](configFile(invocation), { acceptLoss: lossOf(invocation) }),
});

function lossOf(invocation: Invocation): number | undefined {
  const said = text(invocation, 'accept-loss');
  if (said !== undefined && !/^[1-9]\d{0,14}$/.test(said))
    throw new CommandError('--accept-loss is a number of leaves, as the refusal names it.', 2);
  return said === undefined ? undefined : Number(said);
}

export const COMMANDS: readonly Command[] = [
  running('up', 'run the service and Envoy'),
  running('serve', 'run the service alone, for an Envoy that runs elsewhere'),
  check,
  envoyConfig,
  login,
  logout,
  sql,
  connect,
  approvals,
  approve,
  deny,
  revoke,
  sessions,
  runs,
  replay,
  legalHold,
  retention,
  log,
  verify,
  evidence,
  exporting,
  policy,
  version,
  help,
];
