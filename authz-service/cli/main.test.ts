import { execFile, execFileSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { COMMANDS } from './commands.ts';
import { run } from './run.ts';

const SLUICE = fileURLToPath(new URL('../../sluice', import.meta.url));
let dir: string;
let admin: Server;
let answers: Record<string, { status: number; json: object }>;
let asked: { method: string; url: string; token: string; body: string }[];

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'cli-'));
  [answers, asked] = [{}, []];
  admin = createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request) body += chunk;
    asked.push({ method: request.method ?? '', url: request.url ?? '', token: request.headers.authorization ?? '', body });
    const { status, json } = answers[`${request.method} ${request.url?.split('?')[0]}`] ?? {
      status: 404,
      json: { detail: 'There is no such approval that you may see.' },
    };
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(json));
  });
  writeFileSync(
    join(dir, 'sluice.yaml'),
    `version: 1\nstate_dir: .\nlisteners: [{ name: http, address: 127.0.0.1:8080 }]\nissuers: [{ name: corp, issuer: https://login.example.com, audiences: [sluice] }]
targets: [{ name: t, listener: http, url: http://127.0.0.1:1, credentials: { key: { bearer: { env: NOT_SET_HERE } } } }]\npolicy: { path: policies }\n`,
  );
});
afterEach(() => {
  admin.closeAllConnections();
  admin.close();
  rmSync(dir, { recursive: true, force: true });
});

interface Ended {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** Runs the command in this process, on a sluice.yaml whose secrets are not to be had here. */
async function sluice(...args: string[]): Promise<Ended> {
  const env = { XDG_CONFIG_HOME: dir, SLUICE_TOKEN: 'token-1', SLUICE_CONFIG: join(dir, 'sluice.yaml'), SLUICE_ADMIN: '' };
  for (const [name, value] of Object.entries(env)) vi.stubEnv(name, value);
  const caught = { stdout: '', stderr: '' };
  const spies = (['stdout', 'stderr'] as const).map((stream) =>
    vi.spyOn(process[stream], 'write').mockImplementation((chunk) => {
      caught[stream] += chunk;
      return true;
    }),
  );
  try {
    return { code: await run(args), out: caught.stdout, err: caught.stderr };
  } finally {
    for (const spy of spies) spy.mockRestore();
    vi.unstubAllEnvs();
  }
}

/** Runs it as a user does, through the launcher. */
const launched = (...args: string[]): Promise<Ended> =>
  new Promise((settle) => {
    execFile(SLUICE, args, { cwd: dir }, (error, out, err) => settle({ code: error ? Number(error.code) : 0, out, err }));
  });

describe('npm start', () => {
  const started = (...args: string[]): Promise<Ended> =>
    new Promise((settle) => {
      const start = fileURLToPath(new URL('../../scripts/start.ts', import.meta.url));
      execFile(process.execPath, [start, ...args], { cwd: dir, timeout: 15_000 }, (error, out, err) =>
        settle({ code: error ? Number(error.code) : 0, out, err }),
      );
    });

  it.each([['--config', 'absent.yaml'], ['--config=absent.yaml'], ['-c', 'absent.yaml'], ['-cabsent.yaml']])(
    'runs what %s names, never the demo in its place',
    async (...args) => {
      expect(await started(...args)).toMatchObject({ code: 1, out: '', err: expect.stringMatching(/absent\.yaml: cannot be read/) });
    },
  );

  it('refuses what it does not understand', async () => {
    expect(await started('--confg', 'sluice.yaml')).toMatchObject({ code: 2, out: '', err: expect.stringContaining('--confg') });
  });
});

describe('sluice', () => {
  it('lists every command, and explains each', async () => {
    const { code, out } = await sluice();
    expect(code).toBe(0);
    for (const { name, summary } of COMMANDS) expect(out).toMatch(new RegExp(`^  ${name} +${summary.slice(0, 12)}`, 'm'));
    expect((await sluice('approve', '--help')).out).toMatch(/^sluice approve ID… .*\n[\s\S]*--reason TEXT/);
  });

  it.each([
    [['aprove'], "there is no command 'aprove'"],
    [['approve'], 'an argument is missing'],
    [['sessions', 'x'], "there is no argument 'x'"],
    [['approvals', '--stat', 'all'], "Unknown option '--stat'"],
    [['deny', 'apr_1'], 'a denial needs its reason'],
    [['revoke', 'apr_1'], 'a revocation needs its reason'],
    [['sessions', '--since', 'yesterday'], '--since is a duration'],
    [['approvals', '--admin', 'http://10.0.0.1:9000'], 'is no address of an admin API'],
  ])('says what was not said right, with exit code 2: %j', async (args, message) => {
    const { code, out, err } = await sluice(...args);
    expect([code, out]).toEqual([2, '']);
    expect(err).toContain(message);
    expect(asked).toEqual([]);
  });

  it('is launched from anywhere, through a link too, and ends with the exit code', async () => {
    expect((await launched('version')).out).toMatch(/^sluice \d+\.\d+\.\d+, Node 24/);
    expect((await launched('approve')).code).toBe(2);
    const link = join(dir, 'linked');
    symlinkSync(SLUICE, link);
    expect(execFileSync(link, ['version'], { encoding: 'utf8' })).toMatch(/^sluice /);
  });

  it('that is not set up says what to do', () => {
    copyFileSync(SLUICE, join(dir, 'sluice'));
    expect(() => execFileSync(join(dir, 'sluice'), ['version'], { stdio: 'pipe' })).toThrow(/not set up here yet: run 'npm run setup'/);
  });

  it.each([
    ['serve', [/targets\[0\]\.credentials\.key\.bearer: .*NOT_SET_HERE/, /admin\.address: 127\.0\.0\.1:\d+ is in use/]],
    [
      'up',
      [
        /listeners\[0\]\.address: 127\.0\.0\.1:\d+ is in use/,
        /targets\[0\]\.credentials\.key\.bearer: .*NOT_SET_HERE/,
        /admin\.address: 127\.0\.0\.1:\d+ is in use/,
      ],
    ],
  ])('%s says at once what is wrong with the configuration and which ports are in use', async (command, said) => {
    const other = createServer();
    await Promise.all([admin, other].map((server) => new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening))));
    try {
      const [own, envoys] = [admin, other].map((server) => (server.address() as { port: number }).port);
      const file = join(dir, 'sluice.yaml');
      writeFileSync(file, `${readFileSync(file, 'utf8').replace(':8080', `:${envoys}`)}admin: { address: '127.0.0.1:${own}' }\n`);
      const { code, out, err } = await sluice(command);
      expect([code, out]).toEqual([1, '']);
      const lines = err.split('\n').filter((line) => /^ {2}\S+sluice\.yaml:\d+:\d+: /.test(line));
      expect(lines.filter((line) => !line.includes('policy.path'))).toEqual(said.map((pattern) => expect.stringMatching(pattern)));
    } finally {
      other.close();
    }
  });

  it('says that the service does not run', async () => {
    const { code, err } = await sluice('approvals');
    expect(code).toBe(1);
    expect(err).toMatch(/The service does not run: nobody listens at .*run\/admin\.sock/);
  });
});

describe('sluice, over TCP', () => {
  let url: string;
  beforeEach(async () => {
    await new Promise<void>((listening) => admin.listen(0, '127.0.0.1', listening));
    url = `http://127.0.0.1:${(admin.address() as { port: number }).port}`;
  });

  const approval = {
    id: 'apr_1',
    state: 'pending',
    held: new Date(Date.now() - 5000).toISOString(),
    expires: new Date(Date.now() + 600_000).toISOString(),
    session: 'ses_1',
    target: 'demo',
    summary: 'DELETE /customers/\u001b[2J7',
    rule: 'destructive',
    reason: 'needs a lead',
    identity: { id: 'corp:agent-7', name: 'agent-7', kind: 'workload', client: 'agent' },
    run: { id: 'run-1', on_behalf_of: 'corp:sam', source: 'token' },
    approvers: ['group:leads'],
    quorum: 2,
    approvals: 1,
    answers: [],
  };

  it('puts legal holds on, lists them without what a reason would do to the terminal, and takes them off', async () => {
    const hold = { session: 'ses_1', by: 'corp:dana', reason: 'case \u001b[2J7', at: '2026-11-26T12:00:00.000Z' };
    answers['POST /v1/legal-holds/ses_1'] = { status: 200, json: hold };
    answers['POST /v1/legal-holds/ses%2F2'] = {
      status: 404,
      json: { code: 'not_found', detail: 'There is no such session in the record.' },
    };
    answers['GET /v1/legal-holds'] = { status: 200, json: { legal_holds: [hold] } };
    const holds = (...args: string[]): Promise<Ended> => sluice('legal-hold', ...args, '--admin', url);
    expect(await holds('add', 'ses_1', '--reason', 'case 7')).toMatchObject({ code: 0, out: 'ses_1: held; nothing of it is deleted\n' });
    expect(await holds('release', 'ses_1', '-r', 'closed')).toMatchObject({ code: 0, out: expect.stringMatching(/^ses_1: released; /) });
    expect(asked.splice(0).map(({ method, url: path, token, body }) => [method, path, token, JSON.parse(body)])).toEqual([
      ['POST', '/v1/legal-holds/ses_1', 'Bearer token-1', { change: 'add', reason: 'case 7' }],
      ['POST', '/v1/legal-holds/ses_1', 'Bearer token-1', { change: 'release', reason: 'closed' }],
    ]);
    // One that fails says so, with those before it done.
    const failed = await holds('add', 'ses_1', 'ses/2', '--reason', 'case 7');
    expect([failed.code === 0, failed.out]).toEqual([false, 'ses_1: held; nothing of it is deleted\n']);
    expect(failed.err).toContain('There is no such session in the record.');
    expect((await holds('list')).out).toMatch(/^ses_1 +2026-11-26T12:00:00\.000Z +corp:dana +case \ufffd\[2J7$/m);
    expect(JSON.parse((await holds('list', '--json')).out)).toEqual({ legal_holds: [hold] });
    answers['GET /v1/legal-holds'] = { status: 200, json: { legal_holds: [] } };
    expect((await holds('list')).out).toBe('No session is held.\n');
    asked.splice(0);
    for (const args of [
      ['add', 'ses_1'],
      ['release', '-r', 'x'],
      ['add', 'ses_1', '-r', ' '],
      ['keep', 'ses_1', '-r', 'x'],
    ])
      expect((await holds(...args)).code, args.join(' ')).toBe(2);
    expect(asked).toEqual([]);
  });

  it('tells why nothing is deleted, and confirms the clock', async () => {
    const retention = (...args: string[]): Promise<Ended> => sluice('retention', ...args, '--admin', url);
    answers['GET /v1/retention'] = { status: 200, json: { deletes: 'never', legal_holds: 1 } };
    expect((await retention()).out).toBe('Nothing is deleted by age: there is no tap.retention.\nLegal holds: 1.\n');
    const state = {
      deletes: 'when due',
      clock_ahead_seconds: 0,
      kept_seconds: { events: 31_536_000 },
      legal_holds: 2,
      held_bundles: 3,
      locked_objects: 4,
    };
    answers['GET /v1/retention'] = { status: 200, json: state };
    expect(await retention()).toMatchObject({
      code: 0,
      out: [
        'What is due is deleted.',
        'Events are kept for 365d, payloads for ever; their leaves, and every proof, for ever.',
        'The last sweep was not yet; the next is now.',
        'Legal holds: 2. They keep 3 bundles of 256 leaves that would be gone; locks in replicas keep 4 objects.',
        'Nothing was deleted since the start of the service.',
        '',
      ].join('\n'),
    });
    const [rows, rest] = [604_800, 7_776_000];
    const kept = { payloads: rest, request_bodies: rest, response_bodies: rest, rows, copied_rows: rest };
    const plan = [
      { class: 'request_bodies', held_bundles: 0, locked_objects: 0 },
      { class: 'rows', not_before: '2026-11-27T12:00:00.000Z', held_bundles: 1, locked_objects: 2 },
      { class: 'copied_rows', held_bundles: 1, locked_objects: 0 },
    ];
    answers['GET /v1/retention'] = { status: 200, json: { ...state, kept_seconds: { ...state.kept_seconds, ...kept }, plan } };
    expect((await retention()).out.split('\n')).toEqual([
      'What is due is deleted.',
      'Events are kept for 365d, request_bodies for 90d, response_bodies for 90d, rows for 7d, copied_rows for 90d, payloads of no known kind for 90d; their leaves, and every proof, for ever.',
      'The last sweep was not yet; the next is now.',
      '  rows: the next go not before 2026-11-27T12:00:00.000Z, 1 bundles under legal hold, 2 objects locked in replicas.',
      '  copied_rows: none waits for its age, 1 bundles under legal hold.',
      'Legal holds: 2. They keep 3 bundles of 256 leaves that would be gone; locks in replicas keep 4 objects.',
      'Nothing was deleted since the start of the service.',
      '',
    ]);
    answers['GET /v1/retention'] = { status: 200, json: { ...state, kept_seconds: { ...kept, rows: rest } } };
    expect((await retention()).out).toContain('payloads for 90d; their');
    answers['GET /v1/retention'] = { status: 200, json: { ...state, stalled: 'the clock is 120 s behind' } };
    expect(await retention()).toMatchObject({
      code: 1,
      out: expect.stringContaining('What is due is deleted.\nNOT ALL OF IT: the clock is 120 s behind.\n'),
    });
    const leaves = { pruned_below: 512, next_below: 1024, rest_waits_for: 'sessions' };
    answers['GET /v1/retention'] = { status: 200, json: { ...state, leaves } };
    const pruning = (await retention()).out;
    expect(pruning).toContain('payloads for ever; their leaves longer, and every proof as long as its leaf.\n');
    expect(pruning).toContain(
      'Leaves below 512 were pruned. Those below 1024 go with the next sweep. What is behind them waits for sessions.\n',
    );
    const [last_sweep, next_sweep] = ['2026-11-26T12:00:00.000Z', '2026-11-26T13:00:00.000Z'];
    const last_deleted = { at: last_sweep, what: ['events older than 365d: leaves 0-255', 'payloads older than 1d: leaves 0-511'] };
    const suspended = { deletes: 'suspended', suspended: 'the clock says 2099', clock_ahead_seconds: 9 };
    answers['GET /v1/retention'] = { status: 200, json: { ...state, ...suspended, last_sweep, next_sweep, last_deleted } };
    const told = await retention();
    expect(told).toMatchObject({ code: 1, out: expect.stringContaining('NOTHING IS DELETED: the clock says 2099\n') });
    expect(told.out).toContain(`The last sweep was at ${last_sweep}; the next is at ${next_sweep}.\n`);
    expect(told.out).toContain(
      `Deleted last, at ${last_sweep}: events older than 365d: leaves 0-255; payloads older than 1d: leaves 0-511.\n`,
    );
    asked.splice(0);
    answers['POST /v1/retention'] = { status: 200, json: { confirmed: true } };
    expect((await retention('confirm-clock')).code).toBe(2);
    expect((await retention('confirm-clock', '--reason', 'looked')).code).toBe(0);
    expect(asked).toMatchObject([{ method: 'POST', url: '/v1/retention', body: '{"change":"confirm-clock","reason":"looked"}' }]);
  });

  it('lists approvals, without what an agent would do to the terminal', async () => {
    answers['GET /v1/approvals'] = { status: 200, json: { approvals: [approval] } };
    const { code, out } = await sluice('approvals', '--admin', url);
    expect(code).toBe(0);
    expect(out).toMatch(
      /^apr_1 +(?:\d+m ?)?(?:\d+s)? +demo: DELETE \/customers\/\ufffd\[2J7 +agent-7 \(corp:agent-7\) +corp:sam +destructive +pending 1\/2 +\d+m( \d+s)? +group:leads$/m,
    );
    expect(asked).toEqual([{ method: 'GET', url: '/v1/approvals?state=pending', token: 'Bearer token-1', body: '' }]);
    expect((await sluice('approvals', '-q', '--admin', url)).out).toBe('apr_1\n');
    expect(JSON.parse((await sluice('approvals', '--json', '--admin', url)).out)).toEqual({ approvals: [approval] });
  });

  it('answers, and says what became of it', async () => {
    answers['POST /v1/approvals/apr_1/answer'] = { status: 200, json: { ...approval, approvals: 1 } };
    expect((await sluice('approve', 'apr_1', '--admin', url)).out).toMatch(/^apr_1: 1 of 2 approvals of DELETE/);
    answers['POST /v1/approvals/apr_3/answer'] = { status: 200, json: { ...approval, id: 'apr_3', state: 'revoked' } };
    answers['POST /v1/approvals/apr_2/answer'] = { status: 200, json: { ...approval, id: 'apr_2', state: 'denied' } };
    expect((await sluice('deny', 'apr_2', '-r', 'no', '--admin', url)).out).toMatch(/^apr_2: denied DELETE/);
    expect((await sluice('revoke', 'apr_3', '-r', 'too early', '--admin', url)).out).toMatch(/^apr_3: revoked the approval of DELETE/);
    expect(asked.map(({ body }) => JSON.parse(body))).toEqual([
      { verdict: 'approve', reason: '' },
      { verdict: 'deny', reason: 'no' },
      { verdict: 'revoke', reason: 'too early' },
    ]);
  });

  it.each([
    [404, 'There is no such approval that you may see.', 1],
    [403, 'You are not one of its approvers.', 1],
    [401, 'The token has ended.', 3],
  ])('passes on a refusal: %d', async (status, detail, exit) => {
    answers['POST /v1/approvals/apr_1/answer'] = { status, json: { status, detail } };
    const { code, err } = await sluice('approve', 'apr_1', '--admin', url);
    expect(code).toBe(exit);
    expect(err).toContain(detail);
  });

  it('asks for sessions by what was given', async () => {
    answers['GET /v1/sessions'] = { status: 200, json: { sessions: [] } };
    expect((await sluice('sessions', '--effect', 'hold', '--since', '15m', '-n', '5', '--admin', url)).out).toBe('No such session.\n');
    const query = Object.fromEntries(new URL(asked[0]?.url ?? '', url).searchParams);
    expect(query).toEqual({ effect: 'hold', limit: '5', since: expect.stringMatching(/^2\d{3}-.*Z$/) });
    expect(Math.abs(Date.now() - 900_000 - Date.parse(query.since ?? ''))).toBeLessThan(20_000);
  });
});
