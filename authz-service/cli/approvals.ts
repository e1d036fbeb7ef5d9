/** `sluice approvals`, `approve`, `deny` and `revoke`: answering what policy holds. */
import type { Verdict } from '../approval/state.ts';
import type { ApprovalDetail, ApprovalSummary } from '../approval/view.ts';
import { printable, roughly } from '../replay/printable.ts';
import { type Command, CommandError, flag, type Invocation, say, text } from './command.ts';
import { connected } from './connected.ts';
import { placeDetails, placeOptions } from './place.ts';
import { type Column, table } from './table.ts';

export const approvals: Command = {
  name: 'approvals',
  usage: '[ID] [--state STATE]',
  summary: 'what waits for an answer that you may give',
  details: [
    ['ID', 'one of them, with all that its decision rests on, sensitive values masked'],
    ['--state STATE', 'pending (default), approved, denied, revoked, expired, cancelled, used, lapsed; or all'],
    ['-q, --quiet', 'their ids alone, one per line'],
    ['--json', 'as the admin API answers'],
    ...placeDetails,
  ],
  options: { ...placeOptions, state: { type: 'string' }, quiet: { type: 'boolean', short: 'q' }, json: { type: 'boolean' } },
  takes: [0, 1],
  run: async (invocation) => {
    const [id] = invocation.positionals;
    return id === undefined ? await list(invocation) : await show(invocation, id);
  },
};

async function list(invocation: Invocation): Promise<number> {
  const state = text(invocation, 'state') ?? 'pending';
  const client = await connected(invocation);
  const answer = (await client.get('/v1/approvals', { state: state === 'all' ? undefined : state })) as { approvals: ApprovalSummary[] };
  if (flag(invocation, 'json')) say(JSON.stringify(answer, null, 2));
  else if (flag(invocation, 'quiet')) for (const { id } of answer.approvals) say(id);
  else if (answer.approvals.length === 0)
    say(
      state === 'pending'
        ? 'Nothing waits for your answer.'
        : state === 'all'
          ? 'There is none.'
          : `There is none that is ${printable(state)}.`,
    );
  else say(table(columns(Date.now()), answer.approvals, process.stdout.isTTY ? process.stdout.columns : undefined));
  return 0;
}

const who = ({ name, id }: ApprovalSummary['identity']): string => (name === '' || name === id ? id : `${name} (${id})`);

const columns = (now: number): Column<ApprovalSummary>[] => [
  { title: 'ID', of: ({ id }) => id },
  { title: 'AGE', of: ({ held }) => roughly(now - Date.parse(held)) },
  { title: 'WHAT', of: ({ target, summary }) => `${target}: ${summary}`, flexible: true },
  { title: 'WHO', of: ({ identity }) => who(identity), flexible: true },
  { title: 'FOR', of: ({ run }) => run.on_behalf_of || '-', flexible: true },
  { title: 'RULE', of: ({ rule }) => rule, flexible: true },
  {
    title: 'STATE',
    of: ({ state, approvals: given, quorum }) => (state === 'pending' && quorum > 1 ? `pending ${given}/${quorum}` : state),
  },
  { title: 'ENDS IN', of: ({ expires }) => (expires === undefined ? '-' : roughly(Date.parse(expires) - now)) },
  { title: 'APPROVERS', of: ({ approvers }) => approvers.join(', '), flexible: true },
];

async function show(invocation: Invocation, id: string): Promise<number> {
  const approval = (await (await connected(invocation)).get(`/v1/approvals/${encodeURIComponent(id)}`)) as ApprovalDetail;
  if (flag(invocation, 'json') || approval.identity === undefined) say(JSON.stringify(approval, null, 2));
  else say(described(approval, Date.now()));
  return 0;
}

export function described(approval: ApprovalDetail, now: number): string {
  const {
    id,
    state,
    summary,
    target,
    identity,
    run,
    rule,
    reason,
    expires,
    approvers,
    quorum,
    answers,
    ending,
    session,
    masked_input: input,
  } = approval;
  const rows: (readonly [string, string])[] = [
    ['state', ending ?? state],
    ['what', `${summary} on ${target}`],
    ['who', who(identity)],
    ...(run.id ? [['run', `${run.id}${run.source === 'token' ? '' : ` (said by the caller, in its ${run.source})`}`] as const] : []),
    ...(run.on_behalf_of ? [['for', run.on_behalf_of] as const] : []),
    ['rule', `${rule}: ${reason}`],
    ['approvers', `${approvers.join(', ')}; ${quorum} of them`],
    ...answers.map(({ by, verdict, reason: why, at }) => ['answer', `${verdict} by ${by} at ${at}${why ? `: ${why}` : ''}`] as const),
    ...(expires ? [['ends in', roughly(Date.parse(expires) - now)] as const] : []),
    ['session', session],
  ];
  const lines = rows.map(([title, value]) => `  ${title.padEnd(10)} ${printable(value)}`);
  const body = JSON.stringify(input, null, 2)
    .split('\n')
    .map((line) => `  ${printable(line)}`);
  return [id, ...lines, '', '  What policy saw, sensitive values masked:', ...body].join('\n');
}

const answering = (name: Verdict, usage: string, summary: string): Command => ({
  name,
  usage,
  summary,
  details: [
    ['ID', 'as `sluice approvals` lists it; several may be given'],
    ['-r, --reason TEXT', `why; goes into the record${name === 'approve' ? '' : ', and the caller is told'}`],
    ...placeDetails,
  ],
  options: { ...placeOptions, reason: { type: 'string', short: 'r' } },
  takes: [1, 100],
  run: (invocation) => answer(invocation, name),
});

export const approve = answering('approve', 'ID… [--reason TEXT]', 'let a held request through, once');
export const deny = answering('deny', 'ID… --reason TEXT', 'end a held request');
export const revoke = answering('revoke', 'ID… --reason TEXT', 'take back an approval that has not been used');

async function answer(invocation: Invocation, verdict: Verdict): Promise<number> {
  const reason = text(invocation, 'reason') ?? '';
  if (verdict !== 'approve' && reason.trim() === '')
    throw new CommandError(`a ${verdict === 'deny' ? 'denial' : 'revocation'} needs its reason: sluice ${verdict} ID --reason TEXT`, 2);
  const client = await connected(invocation);
  for (const id of invocation.positionals) {
    const answered = (await client.post(`/v1/approvals/${encodeURIComponent(id)}/answer`, { verdict, reason })) as ApprovalSummary & {
      again?: boolean;
    };
    say(`${id}: ${printable(outcome(answered, verdict))}`);
  }
  return 0;
}

function outcome({ state, approvals: given, quorum, summary, again }: ApprovalSummary & { again?: boolean }, verdict: string): string {
  if (verdict === 'deny') return `denied ${summary}`;
  if (verdict === 'revoke') return `revoked the approval of ${summary}; it passes no more`;
  if (again) return `you had approved it already; ${given} of ${quorum} approvals`;
  if (state === 'pending') return `${given} of ${quorum} approvals of ${summary}`;
  return state === 'approved' ? `approved ${summary}; it passes when its caller asks again` : `approved ${summary}; it goes through`;
}
