/** `sluice policy`: test it, check it, and explain what it decided. */
import { checkPolicy } from '../policy/check.ts';
import { policyTestFiles, schemasOf } from '../policy/compile.ts';
import { problemsOf } from '../policy/error.ts';
import { findOpa, showOpa } from '../policy/opa.ts';
import { printable } from '../replay/printable.ts';
import type { ReplayedEvent } from '../replay/tell.ts';
import { type Command, CommandError, complain, flag, type Invocation, say, text } from './command.ts';
import { connected } from './connected.ts';
import { clientConfig, placeDetails, placeOptions } from './place.ts';

export const policy: Command = {
  name: 'policy',
  usage: 'test | check | explain SESSION',
  summary: 'test the policy, check it, explain what it decided',
  details: [
    ['test', "runs the tests of the configuration's policy folder, beside the library where the folder is added to it"],
    ['check', 'whether the gateway would take the policy and its data, without putting them in force'],
    ['explain SESSION', 'what the policy saw of a recorded request (sensitive values masked), which rules fired, what was decided'],
    ['--run PATTERN', 'test: only tests whose name matches'],
    ['--coverage', 'test: which lines no test reaches'],
    ['--verbose', 'test: each test'],
    ['--json', 'explain: the judgement as the record has it'],
    ...placeDetails,
  ],
  options: {
    ...placeOptions,
    run: { type: 'string' },
    coverage: { type: 'boolean' },
    verbose: { type: 'boolean' },
    json: { type: 'boolean' },
  },
  takes: [1, 2],
  run: (invocation) => {
    const [verb = '', session] = invocation.positionals;
    const explains = verb === 'explain';
    if (explains !== (session !== undefined))
      throw new CommandError(explains ? 'explain needs a session, as `sluice sessions` lists it' : `${verb} takes no argument`, 2);
    if (verb === 'test') return test(invocation);
    if (verb === 'check') return check(invocation);
    if (explains) return explain(invocation, session ?? '');
    throw new CommandError(`policy ${verb}: there are test, check and explain`, 2);
  },
};

async function test(invocation: Invocation): Promise<number> {
  const { path } = clientConfig(invocation).policy;
  if (path.endsWith('.tar.gz')) throw new CommandError(`${path} is a bundle: its tests are where it was built`);
  try {
    const options = [...(flag(invocation, 'coverage') ? ['--coverage'] : []), ...(flag(invocation, 'verbose') ? ['--verbose'] : [])];
    const pattern = text(invocation, 'run');
    const only = pattern === undefined ? [] : ['--run', pattern];
    return await showOpa(findOpa(), [
      'test',
      '--schema',
      schemasOf(path),
      '--ignore',
      'schemas',
      '--ignore',
      '.*',
      ...options,
      ...only,
      ...(await policyTestFiles(path)),
    ]);
  } catch (error) {
    throw new CommandError(problemsOf(error).join('\n'));
  }
}

async function check(invocation: Invocation): Promise<number> {
  const { policy: source } = clientConfig(invocation);
  const problems = await checkPolicy({ policy: source });
  for (const problem of problems) complain(problem);
  say(
    problems.length === 0
      ? `ok    policy ${source.path}${source.data === undefined ? '' : ` with ${source.data}`}`
      : `WRONG policy ${source.path}: it would be refused`,
  );
  return problems.length === 0 ? 0 : 1;
}

async function explain(invocation: Invocation, id: string): Promise<number> {
  const { events } = (await (await connected(invocation)).get(`/v1/sessions/${encodeURIComponent(id)}`)) as { events: ReplayedEvent[] };
  const judged = events.filter(({ kind }) => kind === 'request_judged');
  if (judged.length === 0) throw new CommandError(`nothing was judged in ${printable(id)}`);
  for (const event of judged) say(flag(invocation, 'json') ? JSON.stringify(event, null, 2) : explanation(event));
  return 0;
}

interface Fired {
  readonly rule: string;
  readonly effect: string;
  readonly reason: string;
}

/** What one judgement rested on, for people: its input is the record's, which holds sensitive values masked only. */
export function explanation({ time, session, target, body, truncated = [] }: ReplayedEvent): string {
  if (body === undefined)
    return `${printable(session)} on ${printable(target)}, ${printable(time)}: what was judged was deleted after its retention`;
  const word = (name: string): string => printable(String(body[name] ?? ''));
  const decision = parsed(body.decisionJson);
  const fired = Array.isArray(decision?.matched) ? (decision.matched as Fired[]) : [];
  return [
    `${word('request')} on ${printable(target)}`,
    `  session ${printable(session)}, ${printable(time)}`,
    `  policy ${word('policyRevision') || 'none'}, in ${word('policyMicros') || '0'} µs`,
    '',
    `decision: ${word('effect')} by ${word('rule')}${word('reason') ? `: ${word('reason')}` : ''}`,
    ...(word('approval') ? [`  let through by the grant of ${word('approval')}`] : []),
    '',
    'rules that fired:',
    ...(fired.length > 0
      ? fired.map(
          ({ rule, effect, reason }) =>
            `  ${printable(String(effect)).padEnd(6)}${printable(String(rule))}${reason ? `: ${printable(String(reason))}` : ''}`,
        )
      : ['  none']),
    '',
    ...section('what the decision says', decision && without(decision, ['matched', 'effect', 'rule', 'reason']), body.decisionJson),
    '',
    ...section(
      'input of the policy, SENSITIVE VALUES MASKED (the policy itself saw them in clear)',
      parsed(body.maskedInputJson),
      body.maskedInputJson,
    ),
    ...(truncated.length > 0 ? ['', `shortened by its writer: ${truncated.map(printable).join(', ')}`] : []),
  ].join('\n');
}

/** As far as it can be read: a long input may have been shortened by its writer. */
function section(title: string, value: Readonly<Record<string, unknown>> | undefined, raw: unknown): string[] {
  const lines = value ? JSON.stringify(value, null, 2).split('\n') : [String(raw ?? '') || 'not recorded'];
  return [`${title}:`, ...lines.map((line) => `  ${printable(line)}`)];
}

function parsed(raw: unknown): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(String(raw));
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

const without = (value: Readonly<Record<string, unknown>>, names: readonly string[]): Record<string, unknown> =>
  Object.fromEntries(Object.entries(value).filter(([name]) => !names.includes(name)));
