/**
 * What node-postgres and postgres.js see of a database behind the gateway.
 *
 * Environment: PGHOST, PGPORT, PGDATABASE, PGUSER and, but through `sluice connect`, PGPASSWORD (a token). Prints a line for each check; exits with 1
 * when one fails. The runner approves `CREATE TABLE interop_…` and denies `DROP TABLE notes`, both after 0.6 s.
 */
import { once } from 'node:events';
import { createRequire } from 'node:module';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';

const WAY = process.env.WAY ?? '';
const MASKED = '*'.repeat(11);
const RUNNING = 'SELECT count(*) FROM customers a, customers b, customers c, customers d, customers e';
let failed = false;

type Check = (what: string, passed: boolean, seen?: unknown) => void;
const checks =
  (name: string): Check =>
  (what, passed, seen) => {
    failed ||= !passed;
    process.stdout.write(`${passed ? 'ok' : 'not ok'} - ${name}, ${WAY}: ${what}${passed ? '' : ` (${JSON.stringify(seen)})`}\n`);
  };

interface Refusal {
  readonly code?: string;
  readonly message: string;
  readonly detail?: string;
}
const refusal = (promise: Promise<unknown>): Promise<Refusal> =>
  promise.then(
    () => ({ message: 'it was let through' }),
    (error) => error,
  );

await nodePostgres(checks('node-postgres'));
await postgresJs(checks('postgres.js'));
process.exit(failed ? 1 : 0);

async function nodePostgres(check: Check): Promise<void> {
  const client = new pg.Client();
  const notices: string[] = [];
  client.on('notice', ({ message, hint }) => notices.push(`${message} ${hint}`));
  await client.connect();
  const rows = async (query: string | (pg.QueryConfig & { readonly binary?: boolean })): Promise<Record<string, unknown>[]> =>
    (await client.query(query)).rows;

  check('logs in', (await rows('SELECT current_user AS role'))[0]?.role === 'gateway');
  const [simple] = await rows('SELECT id, ssn, card, email FROM customers WHERE id = 1');
  check('reads a row masked', simple?.id === 1 && simple.ssn === MASKED && !String(simple.email).includes('@'), simple);
  const [binary] = await rows({ text: 'SELECT id, ssn FROM customers WHERE id = $1', values: [1], binary: true });
  check('reads a row masked, in binary format', binary?.id === 1 && binary.ssn === MASKED, binary);
  const prepared = [];
  for (let id = 1; id <= 20; id++)
    prepared.push(...(await rows({ name: 'by-id', text: 'SELECT id, ssn FROM customers WHERE id = $1', values: [id] })));
  check('runs a prepared statement 20 times', prepared.length === 20 && prepared.every(({ ssn }) => ssn === MASKED), prepared);

  const denied = await refusal(client.query('DELETE FROM customers WHERE id = 1'));
  check('a denied statement gets 42501', denied.code === '42501', denied);
  check('the connection goes on after it', (await rows('SELECT 1 AS one'))[0]?.one === 1);
  const error = await refusal(client.query('SELECT ssn, name::int FROM customers WHERE id = 1'));
  check(
    'an error carries no value',
    error.code === '22P02' && !JSON.stringify({ ...error, message: error.message }).includes('504-84'),
    error,
  );

  await client.query('BEGIN');
  await client.query("INSERT INTO scratch VALUES (1, 'node-postgres')");
  const codes = [
    (await refusal(client.query('DELETE FROM customers'))).code,
    (await refusal(client.query('INSERT INTO scratch VALUES (2, $1)', ['node-postgres']))).code,
  ];
  await client.query('COMMIT');
  const [left] = await rows("SELECT count(*)::int AS n FROM scratch WHERE note = 'node-postgres'");
  check('a transaction with a denied statement leaves nothing', `${codes} ${left?.n}` === '42501,25P02 0', [codes, left]);

  const since = performance.now();
  await client.query(`CREATE TABLE interop_node_${WAY} (id int)`);
  check('a held statement waits until it is approved', performance.now() - since > 400);
  check(
    'a notice tells of the approval',
    notices.some((notice) => notice.includes('approv')),
    notices,
  );
  const denial = await refusal(client.query('DROP TABLE notes'));
  check(
    'a held statement that is denied says why',
    denial.code === '42501' && `${denial.message} ${denial.detail}`.includes('not this one'),
    denial,
  );

  for (const [what, sql, after] of [
    ['held', 'DROP TABLE transfers', 1000],
    ['running', RUNNING, 1000],
  ] as const) {
    const cancelled = refusal(client.query(sql));
    await sleep(after);
    await cancel(client);
    const { code } = await cancelled;
    check(`a cancel request reaches a ${what} statement`, code === '57014', code);
  }
  check('and the connection goes on', (await rows('SELECT 1 AS one'))[0]?.one === 1);
  await client.end();
}

/** node-postgres has no call for it; its connections know how. */
async function cancel(client: pg.Client): Promise<void> {
  const { processID, secretKey } = client as unknown as { processID: number; secretKey: number };
  const { connection } = new pg.Client() as unknown as {
    connection: {
      connect(port: number, host: string): void;
      cancel(pid: number, key: number): void;
      once(event: 'connect' | 'end', done: () => void): void;
    };
  };
  const ended = new Promise<void>((done) => connection.once('end', done));
  connection.once('connect', () => connection.cancel(processID, secretKey));
  connection.connect(client.port, client.host);
  await ended;
}

// biome-ignore lint/suspicious/noExplicitAny: installed beside the repository's packages, without its types
type Any = any;

async function postgresJs(check: Check): Promise<void> {
  const notices: string[] = [];
  const postgres = createRequire(`${process.env.INTEROP_NODE}/`)('postgres') as Any;
  const sql = postgres({
    max: 1,
    ...(WAY === 'connect' && { password: '' }),
    onnotice: ({ message, hint }: { message: string; hint: string }) => notices.push(`${message} ${hint}`),
  });
  check('logs in', (await sql`SELECT current_user AS role`)[0].role === 'gateway');
  const id = 1;
  const [row] = await sql`SELECT id, ssn, card, email FROM customers WHERE id = ${id}`;
  check('reads a row masked', row.id === 1 && row.ssn === MASKED && !row.email.includes('@'), row);
  const many = await Promise.all(Array.from({ length: 50 }, (_, i) => sql`SELECT id, ssn FROM customers WHERE id = ${i + 1}`));
  check(
    'pipelines 50 of a prepared statement',
    many.every(([one]: Any, i) => one.id === i + 1 && one.ssn === MASKED),
    many[0],
  );
  let streamed = 0;
  for await (const rows of sql`SELECT id, ssn FROM customers`.cursor(7)) streamed += rows.filter(({ ssn }: Any) => ssn === MASKED).length;
  check('reads a portal 7 rows at a time, masked', streamed === 120, streamed);

  const denied = await refusal(sql`DELETE FROM customers WHERE id = ${id}`);
  check('a denied statement gets 42501', denied.code === '42501', denied);
  check('the connection goes on after it', (await sql`SELECT 1 AS one`)[0].one === 1);
  const error = await refusal(sql.unsafe('SELECT ssn, name::int FROM customers WHERE id = 1'));
  check('an error carries no value', error.code === '22P02' && !error.message.includes('504-84'), error);
  const rolledBack = await refusal(
    sql.begin(async (sql: Any) => {
      await sql`INSERT INTO scratch VALUES (1, 'postgres.js')`;
      await sql`DELETE FROM customers`;
    }),
  );
  const [left] = await sql`SELECT count(*)::int AS n FROM scratch WHERE note = 'postgres.js'`;
  check('a transaction with a denied statement leaves nothing', rolledBack.code === '42501' && left.n === 0, [rolledBack, left]);

  const input = await sql`COPY scratch FROM STDIN`.writable();
  input.end('1\tcopied by postgres.js\n2\tcopied by postgres.js\n');
  await once(input, 'finish');
  const [copied] = await sql`SELECT count(*)::int AS n FROM scratch WHERE note = 'copied by postgres.js'`;
  check('COPY in', copied.n >= 2, copied);
  let out = '';
  for await (const chunk of await sql`COPY (SELECT id, ssn FROM customers ORDER BY id) TO STDOUT`.readable()) out += chunk;
  const lines = out.trimEnd().split('\n');
  check('COPY out, masked', lines.length === 120 && lines.every((line) => line.endsWith(`\t${MASKED}`)), lines.slice(0, 2));

  const since = performance.now();
  await sql.unsafe(`CREATE TABLE interop_postgresjs_${WAY} (id int)`);
  check('a held statement waits until it is approved', performance.now() - since > 400);
  check(
    'a notice tells of the approval',
    notices.some((notice) => notice.includes('approv')),
    notices,
  );
  for (const [what, text, after] of [
    ['held', 'DROP TABLE transfers', 1000],
    ['running', RUNNING, 1000],
  ] as const) {
    const query = sql.unsafe(text);
    const cancelled = refusal(query.execute());
    await sleep(after);
    query.cancel();
    const { code } = await cancelled;
    check(`a cancel request reaches a ${what} statement`, code === '57014', code);
  }
  check('and the connection goes on', (await sql`SELECT 1 AS one`)[0].one === 1);
  await sql.end();
}
