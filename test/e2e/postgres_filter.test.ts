/** The PostgreSQL filter in a real Envoy before a real PostgreSQL; the session door is played by the test. */
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import protobuf from 'protobufjs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type LogIn, postgresLogIn, startupMessage } from '../../authz-service/session/login/postgres.ts';
import { type PostgresServer, startPostgres } from '../../demo/postgres_server.ts';
import { freePort } from '../free_port.fixture.ts';
import { type Question, StreamGateway } from './stream.fixture.ts';

const PROTO = fileURLToPath(new URL('../../proto/', import.meta.url));
const root = new protobuf.Root();
root.resolvePath = (_, target) => `${PROTO}${target.replace(PROTO, '')}`;
root.loadSync('sluice/session/v1/session.proto', { keepCase: true });

// biome-ignore lint/suspicious/noExplicitAny: messages as the protocol's JSON
type Message = Record<string, any>;
const decode = (name: string, bytes: Buffer): Message =>
  root.lookupType(`sluice.session.v1.${name}`).toObject(root.lookupType(`sluice.session.v1.${name}`).decode(bytes), { defaults: true });
const encode = (name: string, message: Message): Buffer => {
  const type = root.lookupType(`sluice.session.v1.${name}`);
  return Buffer.from(type.encode(type.fromObject(message)).finish());
};

let server: PostgresServer;
let gateway: StreamGateway;
const logIns = new Map<string, LogIn>();
const opened: Message[] = [];
const judged: Message[] = [];
const closed: Message[] = [];
let sessions = 0;
let commands = 0;
/** What is said to a command; replaced at will. */
let verdict: (request: Message) => Message | Promise<Message> = () => ({ allowed: { plan: {} } });
let awaited: () => Promise<Message> = async () => ({ allowed: { plan: {} } });

let generations = 0;
async function answer({ method, message }: Question): Promise<Buffer | number> {
  switch (method.split('/').at(-1)) {
    case 'Open': {
      const request = decode('OpenRequest', message);
      opened.push(request);
      if (request.token?.toString() !== 'the-token') return encode('OpenResponse', { refusal: { kind: 1, message: 'who are you?' } });
      const session = `ses-${++sessions}`;
      logIns.set(session, postgresLogIn({ username: 'app', password: 'of the gateway' }));
      return encode('OpenResponse', {
        session,
        greeting: startupMessage([
          ['user', 'app'],
          ['database', 'postgres'],
          ['client_encoding', 'UTF8'],
        ]),
      });
    }
    case 'LogIn': {
      const request = decode('LogInRequest', message);
      return encode('LogInResponse', { reply: await logIns.get(request.session)?.step(request.message) });
    }
    case 'Ready':
      return encode('ReadyResponse', {});
    case 'Judge': {
      const request = decode('JudgeRequest', message);
      judged.push(request);
      return encode('JudgeResponse', { command: ++commands, ...(await verdict(request)) });
    }
    case 'Await':
      return encode('JudgeResponse', { command: commands, ...(await awaited()) });
    case 'Close':
      closed.push(decode('CloseRequest', message));
      return encode('CloseResponse', {});
    case 'Cancel':
      return encode('CancelResponse', { known: true });
    case 'Generation':
      if (generations++ > 0) await sleep(1_000);
      return encode('GenerationResponse', { generation: 0, lease_ms: 60_000 });
    case 'Refused':
      return encode('RefusedResponse', {});
    default:
      return 12;
  }
}

beforeAll(async () => {
  const port = await freePort();
  server = await startPostgres({ port, sql: `CREATE ROLE app LOGIN SUPERUSER PASSWORD 'of the gateway'` });
  await server.query(`CREATE TABLE people (id int PRIMARY KEY, name text, ssn text)`);
  await server.query(`INSERT INTO people SELECT i, 'name ' || i, '536-22-' || (1000 + i) FROM generate_series(1, 1000) i`);
  gateway = await StreamGateway.start({ module: 'sluice-postgres', targetPort: port, passage: '', tapRequire: false });
  gateway.door.answer = answer;
});
afterAll(async () => {
  await gateway?.close();
  await server?.stop();
});

async function connect(password = 'the-token', more: object = {}): Promise<pg.Client> {
  const client = new pg.Client({ host: '127.0.0.1', port: gateway.port, user: 'agent', database: 'whatever', password, ...more });
  client.on('error', () => {});
  await client.connect();
  return client;
}

/** What goes wrong, as the client sees it. */
const failure = (promise: Promise<unknown>): Promise<Message> =>
  promise.then(
    () => {
      throw new Error('it did not fail');
    },
    (error: Message) => error,
  );

describe('in', () => {
  test('with the token as password, as whom the gateway says', async () => {
    const client = await connect();
    expect((await client.query('SELECT current_user AS who, 1 + 1 AS two')).rows).toEqual([{ who: 'app', two: 2 }]);
    expect(opened.at(-1)).toMatchObject({ target: 'lines', parameters: { user: 'agent', database: 'whatever' } });
    await client.end();
    for (let i = 0; i < 3_000 && closed.length === 0; i++) await sleep(10);
    expect(closed.at(-1)).toMatchObject({ outcome: 'complete' });
  });

  test('with another: refused, and the target never heard of it', async () => {
    expect(await failure(connect('another'))).toMatchObject({ code: '28000', message: 'who are you?', severity: 'FATAL' });
  });

  test('fifty at once', async () => {
    const clients = await Promise.all(Array.from({ length: 50 }, () => connect()));
    const answers = await Promise.all(clients.map((client, i) => client.query('SELECT $1::int AS i, pg_backend_pid() AS pid', [i])));
    expect(answers.map(({ rows }) => rows[0].i)).toEqual(clients.map((_, i) => i));
    expect(new Set(answers.map(({ rows }) => rows[0].pid)).size).toBe(50);
    await Promise.all(clients.map((client) => client.end()));
  });
});

describe('commands', () => {
  test('are judged with their text; a denied one fails, and the connection goes on', async () => {
    const client = await connect();
    verdict = ({ text }) =>
      /people/.test(text.toString()) ? { refused: { kind: 2, message: 'not people', hint: 'ask' } } : { allowed: { plan: {} } };
    expect(await failure(client.query('SELECT * FROM people'))).toMatchObject({
      code: '42501',
      message: 'not people',
      hint: 'ask',
      severity: 'ERROR',
    });
    expect(await failure(client.query('SELECT * FROM people WHERE id = $1', [1]))).toMatchObject({ code: '42501', message: 'not people' });
    expect((await client.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
    verdict = () => ({ allowed: { plan: {} } });
    await client.end();
  });

  test('denied inside a transaction end it', async () => {
    const client = await connect();
    verdict = ({ text }) => (/people/.test(text.toString()) ? { refused: { kind: 2, message: 'not people' } } : { allowed: { plan: {} } });
    await client.query('BEGIN');
    await client.query('CREATE TABLE never (i int)');
    await failure(client.query('DELETE FROM people'));
    expect((await client.query('COMMIT')).command).toBe('ROLLBACK');
    expect((await server.query(`SELECT to_regclass('never') AS t, count(*)::int FROM people`)).rows).toEqual([{ t: null, count: 1000 }]);
    verdict = () => ({ allowed: { plan: {} } });
    await client.end();
  });

  test('held: the client is told, waits, and gets its rows', async () => {
    const client = await connect();
    const notices: string[] = [];
    client.on('notice', (notice) => notices.push(String(notice.message)));
    verdict = () => ({ held: { approval: 'apr-1', message: 'waits for dana' } });
    let release = (_: Message): void => {};
    awaited = () => new Promise((settle) => (release = settle));
    for (const query of ['SELECT 7 AS seven', { text: 'SELECT $1::int AS seven', values: [7] }]) {
      const answered = client.query(query);
      for (let i = 0; i < 3_000 && notices.length === 0; i++) await sleep(10);
      expect(notices.splice(0)).toEqual(['waits for dana']);
      await sleep(1_000);
      release({ allowed: { plan: {} } });
      expect((await answered).rows).toEqual([{ seven: 7 }]);
    }
    verdict = () => ({ allowed: { plan: {} } });
    await client.end();
  });

  test('of a client that goes away while held are given up and never run', async () => {
    const client = await connect();
    verdict = () => ({ held: { approval: 'apr-2', message: 'waits' } });
    awaited = () => new Promise(() => {});
    gateway.door.asked.length = 0;
    client.query('DELETE FROM people').catch(() => {});
    const held = async (): Promise<Question> => {
      for (let i = 0; i < 3_000; i++) {
        const found = gateway.door.asked.find(({ method }) => method.endsWith('/Await'));
        if (found) return found;
        await sleep(10);
      }
      throw new Error('nobody waits');
    };
    const { gone } = await held();
    (client as unknown as { connection: { stream: { destroy(): void } } }).connection.stream.destroy();
    await gone;
    await sleep(200);
    expect((await server.query('SELECT count(*)::int FROM people')).rows).toEqual([{ count: 1000 }]);
    verdict = () => ({ allowed: { plan: {} } });
  });
});

describe('rows', () => {
  const masks = async (): Promise<Message> => {
    const { rows } = await server.query(`SELECT 'people'::regclass::oid::int AS oid`);
    return { allowed: { plan: { origins: [{ table: rows[0].oid, attribute: 3, rule: { id: 'ssn', method: 2, keep_last: 4 } }] } } };
  };

  test('are masked by origin, whatever the column is called, in every way to ask', async () => {
    const plan = await masks();
    verdict = () => plan;
    const client = await connect();
    for (const query of [
      'SELECT id, ssn AS x FROM people ORDER BY id',
      { text: 'SELECT id, ssn AS x FROM people WHERE id > $1 ORDER BY id', values: [0] },
      { name: 'prepared', text: 'SELECT id, ssn AS x FROM people WHERE id > $1 ORDER BY id', values: [0] },
      { name: 'prepared', text: 'SELECT id, ssn AS x FROM people WHERE id > $1 ORDER BY id', values: [0] },
    ]) {
      const { rows } = await client.query(query);
      expect(rows.length).toBe(1000);
      for (const { id, x } of rows) expect(x).toMatch(new RegExp(`^[^0-9]+${1000 + id}$`));
    }
    verdict = () => ({ allowed: { plan: {} } });
    await client.end();
  });

  test('many megabytes of them stream through, unchanged and masked', async () => {
    const plan = await masks();
    for (const planned of [{ allowed: { plan: {} } }, plan]) {
      verdict = () => planned;
      const client = await connect();
      const { rows } = await client.query(
        `SELECT p.id, p.ssn, repeat('x', 1000) AS filler FROM people p, generate_series(1, 30) ORDER BY p.id`,
      );
      expect(rows.length).toBe(30_000);
      expect(rows.every(({ filler }) => filler.length === 1_000)).toBe(true);
      expect(rows.every(({ id, ssn }, i) => id === Math.floor(i / 30) + 1 && ssn.startsWith('536-22-') === (planned !== plan))).toBe(true);
      await client.end();
    }
    verdict = () => ({ allowed: { plan: {} } });
  });
});

test('a cancel request reaches the target when its key is known', async () => {
  const client = await connect();
  const sleeping = failure(client.query('SELECT pg_sleep(20)'));
  await sleep(300);
  const { processID, secretKey } = client as unknown as { processID: number; secretKey: number };
  const raw = gateway.client();
  const packet = Buffer.alloc(16);
  packet.writeInt32BE(16, 0);
  packet.writeInt32BE(80_877_102, 4);
  packet.writeInt32BE(processID, 8);
  packet.writeInt32BE(secretKey, 12);
  raw.send(packet);
  expect(await sleeping).toMatchObject({ code: '57014' });
  await client.end();
});
