import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Demo, pathWithout, repositoryWithPorts, survivors } from './demo.fixture.ts';

// Most of a start is waiting for processes one after another, so two demos at a time share the machine (maxConcurrency of these tests).
describe.concurrent.each(['with psql where it is installed', 'without psql'])('the tour, line by line as it is printed, %s', (which) => {
  const programs = mkdtempSync(join(tmpdir(), 'programs-'));
  let demo: Demo;
  /** By the first words of a line's title: what the lines printed. */
  const outputs = new Map<string, string[]>();
  const said = (title: string): string[] =>
    [...outputs].find(([key]) => key.includes(title))?.[1] ?? [`nothing under '${title}' in the tour`];

  beforeAll(async () => {
    demo = await Demo.start(undefined, which === 'without psql' ? pathWithout('psql', programs) : undefined);
    if (which === 'without psql') expect(demo.output).not.toContain('psql -X');
    expect(demo.output).toContain('Paste these into a second terminal');
    // One shell for all lines, as the user's terminal is; a mark after each line tells which output is whose.
    const shell = spawn('bash', ['--norc'], { cwd: demo.dir, env: demo.env, stdio: ['pipe', 'pipe', 'pipe'] });
    let printed = '';
    for (const stream of [shell.stdout, shell.stderr]) stream.on('data', (chunk: Buffer) => (printed += chunk));
    let [title, mark] = ['', 0];
    for (const line of demo.output.split('\n')) {
      title = /^\d+\. (.*)/.exec(line)?.[1] ?? title;
      if (!line.startsWith('   ')) continue;
      mark += 1;
      const before = printed.length;
      // What a reader leaves time for is waited for: the port of the connector, a client in the background until it is held, and, once it is answered, until it has said so.
      const listens = `until (: < /dev/tcp/127.0.0.1/${demo.ports['5434']}) 2> /dev/null; do sleep 0.1; done`;
      const answered = /\.\/sluice (?:approve|deny) /.test(line) ? 'wait\n' : '';
      shell.stdin.write(`${line.replace('sleep 2', listens)}\n${answered}echo "mark ${mark}"\n`);
      while (!printed.includes(`mark ${mark}\n`, before)) await sleep(20);
      if (line.endsWith('&')) await demo.holds();
      outputs.set(title, [...(outputs.get(title) ?? []), printed.slice(before)]);
    }
    shell.stdin.end();
    await once(shell, 'exit');
  });
  afterAll(async () => {
    await demo.close();
    rmSync(programs, { recursive: true });
  });

  it('has a stop for each thing that it shows', () => {
    expect([...outputs.keys()]).toHaveLength(16);
  });

  it('asks for a token', () => {
    const [refused] = said('Without a token');
    expect(refused).toMatch(/^HTTP\/1.1 401 Unauthorized/m);
    expect(refused).toMatch(/^www-authenticate: Bearer/m);
  });

  it('masks what a read returns', () => {
    const [customer = '', ticket = ''] = said('A read goes through');
    expect(JSON.parse(customer.replace(/mark \d+\n$/, ''))).toMatchObject({
      name: 'Maya Okafor',
      email: expect.stringMatching(/^tok_/),
      ssn: null,
      card: '************2592',
    });
    expect(ticket).not.toMatch(/6011 ?0018|ruben\.devries/);
    expect(ticket).toContain('was charged twice');
  });

  it('refuses a write, naming the rule', () => {
    expect(said('A write outside')[0]).toMatch(/"status":403.*"rule":"default-deny"/);
  });

  it('holds a delete until Dana approves it', () => {
    const [login, listed, approved] = said('Dana, a lead');
    expect(login).toContain('Logged in as Dana Whitlock (leads)');
    expect(listed).toMatch(/apr_\w+ .*DELETE \/customers\/7 .*destructive-needs-approval/);
    expect(approved).toMatch(/approved DELETE \/customers\/7; it goes through/);
    expect(approved).toMatch(/^HTTP\/1.1 200 OK/m);
  });

  it('tells the caller why a request was denied', () => {
    expect(said('She denies').join('')).toMatch(/"status":403.*"reason":"denied by demo:dana: customer 8 has open orders"/);
  });

  it('answers 202 to a caller that does not wait, and lets the same request pass once approved', () => {
    const [accepted, approved, passed] = said('would rather not wait');
    expect(accepted).toMatch(/^HTTP\/1.1 202 Accepted/m);
    expect(accepted).toMatch(/^location: \S+\/apr_/m);
    expect(approved).toContain('it passes when its caller asks again');
    expect(passed).toMatch(/^HTTP\/1.1 200 OK/m);
  });

  it('masks the columns of a database, however they are asked for', () => {
    const rows = said('A PostgreSQL database').join('');
    expect(rows).toMatch(/Freya Nair.*\*{11}.*\*{12}1311.*tok_/);
    expect(rows).not.toMatch(/\d{3}-\d{2}-\d{4}|@example/);
    const [renamed, cut, whole] = said('By another name');
    expect(renamed).toMatch(/^\s*\*{11}$/m);
    // An expression is NULL: even its length would tell something.
    expect(cut).toMatch(/substr *\n(?:-+ *\n)?\s*(?:NULL)?\s*\n?\(1 row\)/);
    expect(whole).toMatch(/row_to_json[\s\S]*\(1 row\)/);
    expect(whole).not.toContain('Freya');
  });

  it('denies a DELETE, and the connection goes on', () => {
    const denied = said('A DELETE is denied').join('');
    expect(denied).toMatch(/ERROR.*the policy does not allow this statement/);
    expect(denied).toMatch(/Rule: default-deny[\s\S]*HINT/);
    expect(denied).toMatch(/^\s*120$/m);
  });

  it('holds a DROP TABLE until Dana approves it', () => {
    const text = said('A DROP TABLE waits').join('');
    expect(text).toMatch(/NOTICE.*waits for an approval \(apr_\w+\)/);
    expect(text).toMatch(/apr_\w+ .*DROP TABLE scratch .*sql-ddl-needs-approval/);
    expect(text).toMatch(/approved DROP TABLE scratch; it goes through/);
    expect(text).toMatch(/^DROP/m);
  });

  it('opens a local port for clients that know no token', () => {
    const text = said('Any client, without a password').join('');
    expect(text).toMatch(/ledger is at 127\.0\.0\.1:\d+, through/);
    if (text.includes('iban')) expect(text).toMatch(/Freya Nair.*\*{18}8246/);
  });

  it('verifies the record, and evidence of it', () => {
    const [log, collected, evidence] = said('Nothing in it was removed');
    expect(log).toMatch(/^VERIFIED: the log sluice\.local\/[\s\S]*self-consistent/m);
    expect(collected).toMatch(/evidence\.html: \d+ events of ses_\w+, proven/);
    expect(evidence).toMatch(/^VERIFIED: evidence of session ses_\w+/m);
    expect(evidence).not.toContain('a key that came with it');
  });

  it('shows the record to an auditor', () => {
    const [login, listed, allowed, denied, statements] = said('Avery, an auditor');
    expect(login).toContain('Logged in as Avery Castellan (audit)');
    for (const what of ['GET /customers/1', 'PATCH /customers/1', 'DELETE /customers/7', 'DELETE /customers/8', 'DELETE /orders/3'])
      expect(listed).toContain(what);
    expect(allowed).toMatch(/judged GET \/tickets\/1: allow by read-by-grant/);
    expect(allowed).toMatch(/masked .*payment-card.*: 1/);
    expect(denied).toMatch(/denied by demo:dana: customer 8 has open orders/);
    expect(statements).toMatch(/on ledger,[\s\S]*judged connect to ledger: allow[\s\S]*\[1\] judged/);
  });

  it('lets a custodian hold a session', () => {
    const [, login, added, listed, retention] = said('Lee, a custodian');
    expect(login).toContain('Logged in as Lee Adeyemi (legal)');
    expect(added).toMatch(/^ses_\w+: held; nothing of it is deleted$/m);
    expect(listed).toMatch(/^ses_\w+ +20\S+ +demo:lee +case 2026-114$/m);
    expect(retention).toMatch(/^Nothing is deleted by age: there is no tap\.retention\.\nLegal holds: 1\.$/m);
  });
});

describe.concurrent('the demo', () => {
  it('ends everything on Ctrl-C, and tells held callers', async () => {
    await using demo = await Demo.start();
    const token = await tokenFrom(demo);
    const held = fetch(`http://127.0.0.1:${demo.ports['8080']}/customers/7`, {
      method: 'DELETE',
      headers: { authorization: `Bearer ${token}` },
    });
    await demo.holds();
    const processes = demo.processes();
    // In any order: by their numbers they stand as they began only until the system counts from the start again.
    for (const part of [/issuer\.ts/, /target\.ts/, /envoy /, /ledger\.ts/, /postgres /])
      expect(processes.map(({ args }) => args)).toContainEqual(expect.stringMatching(part));
    demo.interrupt();
    expect((await held).status).toBe(503);
    expect(await demo.ended).toBe(0);
    expect(await survivors(processes.map(({ pid }) => pid))).toEqual([]);
  });

  it('leaves no process behind when it is killed itself', async () => {
    await using demo = await Demo.start();
    const processes = demo.processes();
    expect(processes.length).toBeGreaterThanOrEqual(4);
    process.kill(demo.pid, 'SIGKILL');
    expect(await survivors(processes.map(({ pid }) => pid))).toEqual([]);
  });

  it.each([
    [/\/envoy /, /Envoy was ended by SIGKILL: everything ends/],
    [/target\.ts/, /The demo's target was ended by SIGKILL .*: everything ends/],
    [/bin\/postgres /, /The demo's ledger was ended with code 1 .*: everything ends/],
  ])('ends with a message when a part is killed: %s', async (part, message) => {
    await using demo = await Demo.start();
    const processes = demo.processes();
    process.kill(processes.find(({ args }) => part.test(args))?.pid ?? 0, 'SIGKILL');
    expect(await demo.ended).toBe(1);
    expect(demo.output).toMatch(message);
    expect(await survivors(processes.map(({ pid }) => pid))).toEqual([]);
  });

  it('says all at once which ports are in use', async () => {
    const place = await repositoryWithPorts();
    // The last one is the tour's, for a local port of its reader.
    const { 5434: _, ...ports } = place.ports;
    const taken = await Promise.all(
      Object.values(ports).map(async (port) => {
        const server = createServer().listen(port, '127.0.0.1');
        await once(server, 'listening');
        return server;
      }),
    );
    try {
      await using demo = await Demo.start(place);
      expect(await demo.ended).toBe(1);
      for (const port of Object.values(ports)) expect(demo.output).toMatch(new RegExp(`127\\.0\\.0\\.1:${port} is in use`));
    } finally {
      for (const server of taken) server.close();
    }
  });
});

const tokenFrom = (demo: Demo): Promise<string> =>
  new Promise((settle, fail) => {
    execFile(
      'curl',
      ['-s', '-u', 'agent:demo-agent', '-d', 'grant_type=client_credentials', `http://127.0.0.1:${demo.ports['9400']}/token`],
      (error, output) => (error ? fail(error) : settle(JSON.parse(output).access_token)),
    );
  });
