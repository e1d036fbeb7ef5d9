/** Who there is in the demo: what the issuer says about each in a token. */

export interface Person {
  readonly name: string;
  readonly groups: readonly string[];
  /** The secret of the OAuth client of the same name. Known to everybody who has this file: it protects invented data on loopback. */
  readonly secret: string;
  /** Further claims. */
  readonly claims?: Readonly<Record<string, unknown>>;
}

export const PEOPLE: Readonly<Record<string, Person>> = {
  agent: {
    name: 'Support agent',
    groups: ['support-agents'],
    secret: 'demo-agent',
    claims: { run_id: 'ticket-triage-0042', on_behalf_of: 'sam.reyes@example.com' },
  },
  dana: { name: 'Dana Whitlock', groups: ['leads'], secret: 'demo-dana' },
  alex: { name: 'Alex Moreau', groups: ['leads'], secret: 'demo-alex' },
  avery: { name: 'Avery Castellan', groups: ['audit'], secret: 'demo-avery' },
  lee: { name: 'Lee Adeyemi', groups: ['legal'], secret: 'demo-lee' },
};
