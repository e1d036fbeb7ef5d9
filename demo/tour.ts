/** What `npm start` prints once everything runs. Every line that begins with `$` works as it stands, in a second terminal in the same folder. */
import { styleText } from 'node:util';

interface Stop {
  readonly title: string;
  readonly lines: readonly string[];
}

const GATEWAY = 'http://127.0.0.1:8080';
const ISSUER = 'http://127.0.0.1:9400';

export const STOPS: readonly Stop[] = [
  { title: 'Without a token: 401, and what is asked for', lines: [`curl -i ${GATEWAY}/customers/1`] },
  {
    title: "An agent's token, from the demo's issuer",
    lines: [
      `TOKEN=$(curl -s -u agent:demo-agent -d grant_type=client_credentials ${ISSUER}/token | sed 's/.*"access_token":"\\([^"]*\\)".*/\\1/')`,
    ],
  },
  {
    title: 'A read goes through, the sensitive fields masked while the response streams by',
    lines: [
      `curl -s -H "Authorization: Bearer $TOKEN" ${GATEWAY}/customers/1`,
      `curl -s -H "Authorization: Bearer $TOKEN" ${GATEWAY}/tickets/1`,
    ],
  },
  {
    title: 'A write outside the policy: 403, naming the rule',
    lines: [
      `curl -s -X PATCH -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' -d '{"tier":"business"}' ${GATEWAY}/customers/1`,
    ],
  },
  {
    title: 'A delete is held: this one waits for a human',
    lines: [`curl -s -i -X DELETE -H "Authorization: Bearer $TOKEN" ${GATEWAY}/customers/7 &`],
  },
  {
    title: 'Dana, a lead, sees it and lets it through',
    lines: [
      'SLUICE_CLIENT_SECRET=demo-dana ./sluice login --client dana',
      './sluice approvals',
      './sluice approve $(./sluice approvals --quiet)',
    ],
  },
  {
    title: 'She denies the next one: its caller is told why',
    lines: [
      `curl -s -X DELETE -H "Authorization: Bearer $TOKEN" ${GATEWAY}/customers/8 &`,
      "./sluice deny $(./sluice approvals --quiet) --reason 'customer 8 has open orders'",
    ],
  },
  {
    title: 'An agent that would rather not wait gets 202; once approved, the same request passes, once',
    lines: [
      `curl -s -i -X DELETE -H "Authorization: Bearer $TOKEN" -H 'Prefer: respond-async' ${GATEWAY}/orders/3`,
      "./sluice approve $(./sluice approvals --quiet) --reason 'a duplicate'",
      `curl -s -i -X DELETE -H "Authorization: Bearer $TOKEN" ${GATEWAY}/orders/3`,
    ],
  },
  {
    title: 'Avery, an auditor, reads the record: what happened, and what was masked in it',
    lines: [
      'SLUICE_CLIENT_SECRET=demo-avery ./sluice login --client avery',
      './sluice sessions',
      './sluice replay $(./sluice sessions --quiet --effect allow --limit 1)',
      './sluice replay $(./sluice sessions --quiet --outcome denied --effect hold --limit 1)',
    ],
  },
];

const dim = (text: string): string => styleText('dim', text, { stream: process.stdout });
const bold = (text: string): string => styleText('bold', text, { stream: process.stdout });

const shown = ({ title, lines }: Stop, index: number): string =>
  `${bold(`${index + 1}. ${title}`)}\n${lines.map((line) => `   ${line}\n`).join('')}`;

export const tour = `
${bold('Sluice runs.')} Paste these into a second terminal, in this folder:

${STOPS.map(shown).join('\n')}
${dim('Log in as a person in a browser instead: ./sluice login (name dana, any password). Ctrl-C here ends everything.')}
`;
