/** What `npm start` prints once everything runs. Every line that begins with `$` works as it stands, in a second terminal in the same folder. */
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { styleText } from 'node:util';

interface Stop {
  readonly title: string;
  readonly lines: readonly string[];
}

const GATEWAY = 'http://127.0.0.1:8080';
const ISSUER = 'http://127.0.0.1:9400';

/** psql where there is one, else `./sluice sql`, which says the same. */
const installed = (program: string): boolean =>
  (process.env.PATH ?? '').split(delimiter).some((dir) => {
    try {
      accessSync(join(dir, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });

const [SQL, SIGN_IN] = installed('psql')
  ? (['psql -X -c', 'export PGHOST=127.0.0.1 PGPORT=5433 PGDATABASE=ledger PGUSER=agent PGPASSWORD=$TOKEN'] as const)
  : (['SLUICE_TOKEN=$TOKEN ./sluice sql', ''] as const);

const sql = (statement: string): string => `${SQL} "${statement}"`;

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
    title: 'A PostgreSQL database, by any client: the token is the password, and sensitive columns are masked as the rows stream by',
    lines: [...(SIGN_IN === '' ? [] : [SIGN_IN]), sql('SELECT id, name, ssn, card, email FROM customers ORDER BY id LIMIT 3')],
  },
  {
    title: 'By another name, in pieces, or as JSON: masked all the same',
    lines: [
      sql('SELECT ssn AS x FROM customers LIMIT 1'),
      sql('SELECT substr(ssn, 1, 9) FROM customers LIMIT 1'),
      sql('SELECT row_to_json(c) FROM customers c LIMIT 1'),
    ],
  },
  {
    title: 'A DELETE is denied, with the rule and what to do; the connection goes on',
    lines: [
      installed('psql')
        ? `psql -X -c "DELETE FROM customers WHERE id = 7" -c "SELECT count(*) FROM customers"`
        : `printf 'DELETE FROM customers WHERE id = 7;\\nSELECT count(*) FROM customers;\\n' | SLUICE_TOKEN=$TOKEN ./sluice sql`,
    ],
  },
  {
    title: 'A DROP TABLE waits for Dana (Ctrl-C would cancel it), then runs',
    lines: [
      `${sql('DROP TABLE scratch')} &`,
      './sluice approvals',
      "./sluice approve $(./sluice approvals --quiet) --reason 'nobody uses it'",
    ],
  },
  {
    title: 'Any client, without a password: ./sluice connect opens a local port, and brings the token itself',
    lines: [
      'SLUICE_TOKEN=$TOKEN ./sluice connect ledger --listen 127.0.0.1:5434 & sleep 2',
      installed('psql')
        ? `PGPASSWORD= psql -X -p 5434 -c "SELECT name, iban FROM customers LIMIT 1"`
        : 'true # such as: psql -h 127.0.0.1 -p 5434 -d ledger',
      'kill $!',
    ],
  },
  {
    title: 'Avery, an auditor, reads the record: what happened, and what was masked in it',
    lines: [
      'SLUICE_CLIENT_SECRET=demo-avery ./sluice login --client avery',
      './sluice sessions',
      './sluice replay $(./sluice sessions --quiet --target demo --effect allow --limit 1)',
      './sluice replay $(./sluice sessions --quiet --target demo --outcome denied --effect hold --limit 1)',
      './sluice replay $(./sluice sessions --quiet --target ledger --limit 1)',
    ],
  },
  {
    title:
      'Nothing in it was removed or changed: the log is a signed Merkle tree, and a session of it can be handed on as a page that proves itself',
    lines: [
      './sluice verify --remember data/demo/kept.checkpoint',
      './sluice evidence $(./sluice sessions --quiet --target demo --effect hold --limit 1) --out data/demo/evidence.html --force',
      './sluice verify data/demo/evidence.html --key data/demo/tap/log/keys',
    ],
  },
  {
    title: 'Lee, a custodian, puts a session that Avery names under a legal hold: nothing of it is deleted, whatever its age',
    lines: [
      'SESSION=$(./sluice sessions --quiet --target demo --effect hold --limit 1)',
      'SLUICE_CLIENT_SECRET=demo-lee ./sluice login --client lee',
      "./sluice legal-hold add $SESSION --reason 'case 2026-114'",
      './sluice legal-hold list',
      './sluice retention',
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
