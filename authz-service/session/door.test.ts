import { loadModule } from 'libpg-query';
import { afterAll, afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { analyse, makeModel } from '../analysis/analyse.ts';
import { Catalog, SensitiveColumns } from '../analysis/catalog.ts';
import type { Model } from '../analysis/model.ts';
import type { SqlRequest } from '../decision/request.ts';
import { AGENT, allow, analysisOf, CATALOG, deny, endAnalyst, hold, World } from './door.fixture.ts';

let world: World;
beforeEach(async () => {
  world = await new World().open();
});
afterEach(async () => {
  await world.close();
  expect(world.faults).toEqual([]);
});

afterAll(endAnalyst);

const later = (what: () => void): Promise<void> => vi.waitFor(what, { timeout: 5000, interval: 5 });

async function realModel(): Promise<Model> {
  await loadModule();
  return makeModel(new Catalog(CATALOG), new SensitiveColumns(['public.customers.ssn']));
}

describe('opening', () => {
  test('proves the token, judges the session, and greets the target as the target wants it', async () => {
    const { session, greeting, refusal } = await world.openWith({
      parameters: { user: 'agent', database: 'ledger', application_name: 'psql' },
    });
    expect(refusal).toBeNull();
    expect(greeting.toString('latin1', 8).split('\0')).toEqual(
      'user app database ledger client_encoding UTF8 standard_conforming_strings on application_name psql'.split(' ').concat('', ''),
    );
    expect(world.inputs).toMatchObject([
      {
        identity: AGENT,
        run: { id: 'run-1' },
        session: { id: session },
        request: { protocol: 'postgres', commands: ['connect'], database: 'ledger' },
      },
    ]);
    expect(world.record(session)).toEqual(['session_opened', 'request_judged allow']);
  });

  test.each([
    ['no target', { target: 'other' }, 'UNSUPPORTED', /no such database/],
    ['no token', { token: Buffer.alloc(0) }, 'UNAUTHENTICATED', /token is needed/],
    ['no proof at all', { token: undefined }, 'UNAUTHENTICATED', /token is needed/],
    ['a password', { token: Buffer.from('pass word') }, 'UNAUTHENTICATED', /no token/],
    ['a wrong token', { token: Buffer.from('bad') }, 'UNAUTHENTICATED', /token is none/],
    ['an issuer that is away', { token: Buffer.from('away') }, 'UNAVAILABLE', /token is none/],
    ['replication', { parameters: { replication: 'database' } }, 'UNSUPPORTED', /replication/],
    ['another database', { parameters: { database: 'postgres' } }, 'UNSUPPORTED', /"ledger", not to "postgres"/],
    ['another encoding', { parameters: { client_encoding: 'SJIS' } }, 'UNSUPPORTED', /encoding/],
    [
      'a parameter that changes what is run',
      { parameters: { session_preload_libraries: 'x' } },
      'UNSUPPORTED',
      /session_preload_libraries/,
    ],
    ['the same among the options', { parameters: { options: '-c role=admin' } }, 'UNSUPPORTED', /"role"/],
    ['another option', { parameters: { options: '-d 5' } }, 'UNSUPPORTED', /"-d"/],
    [
      'strings read otherwise',
      { parameters: { options: '--standard-conforming-strings=off' } },
      'UNSUPPORTED',
      /standard_conforming_strings/,
    ],
    ['a tunnel that nobody opened', { passage: 'ses_x', token: undefined }, 'UNAVAILABLE', /tunnel/],
  ])('refuses %s, and tells nothing to the target', async (_, request, kind, message) => {
    const answer = await world.openWith(request);
    expect(answer.refusal).toMatchObject({ kind, message: expect.stringMatching(message) });
    expect(answer.greeting).toHaveLength(0);
    expect(world.inputs).toEqual([]);
    expect(world.sessions.size).toBe(0);
  });

  test('passes what a client may set, also by options', async () => {
    const { greeting } = await world.openWith({
      parameters: { options: '-c DateStyle=ISO\\ DMY --statement-timeout=5s', TimeZone: 'UTC', '_pq_.x': '1' },
    });
    expect(greeting.toString('latin1').split('\0').slice(-6)).toEqual(['DateStyle', 'ISO DMY', 'statement_timeout', '5s', '', '']);
    expect(greeting.toString('latin1')).toContain('TimeZone\0UTC\0');
  });

  test('is denied in words', async () => {
    world.decide = () => deny;
    const { session, refusal } = await world.openWith();
    expect(refusal).toMatchObject({
      kind: 'DENIED',
      message: expect.stringContaining('nothing is deleted here'),
      detail: expect.stringContaining('no-deletes'),
    });
    expect(world.record(session)).toEqual(['session_opened', 'request_judged deny', 'session_closed denied']);
  });

  test('may be held, until it is approved', async () => {
    world.decide = () => hold();
    const opening = world.openWith();
    await later(() => expect(world.states).toEqual(['pending']));
    await world.answerAll('approve');
    expect((await opening).greeting.length).toBeGreaterThan(0);
  });

  test('that nobody waits for any more is given up', async () => {
    world.decide = () => hold();
    const { cancel } = world.call('Open', { target: 'ledger', emitter: 'e1', token: Buffer.from('good') });
    await later(() => expect(world.states).toEqual(['pending']));
    cancel();
    await later(() => expect(world.states).toEqual(['cancelled']));
    await later(() => expect(world.record('ses_1')).toContain('session_closed cancelled'));
    expect(world.sessions.size).toBe(0);
  });

  test('that is held for longer than the target waits ends with what to do, and the approval lets the next one in, once', async () => {
    world.decide = () => hold();
    const { session, refusal } = await world.openWith({ waitMs: 20 });
    expect(refusal).toMatchObject({ kind: 'UNAVAILABLE', code: '57P03', hint: expect.stringContaining('Connect again') });
    expect(refusal?.message).toMatch(/^this session waits for an approval \(apr_/);
    expect(world.record(session).at(-1)).toBe('session_closed pending');
    expect(world.sessions.size).toBe(0);
    expect(world.states).toEqual(['pending']);
    await world.answerAll('approve');
    expect((await world.openWith({ waitMs: 20 })).greeting.length).toBeGreaterThan(0);
    expect((await world.openWith({ waitMs: 20 })).refusal?.code).toBe('57P03');
  });

  test('that is held for longer is joined by the next one that asks', async () => {
    world.decide = () => hold();
    await world.openWith({ waitMs: 20 });
    const opening = world.openWith({ waitMs: 10_000 });
    await later(() => expect(world.record('ses_2')).toContain('request_judged hold'));
    await world.answerAll('approve');
    expect((await opening).greeting.length).toBeGreaterThan(0);
    expect(world.states).toEqual(['used']);
  });

  test('by a tunnel is refused what it may not ask for at start-up, and its session ends', async () => {
    world.passages.set('ses_t', { identity: AGENT, run: { id: '', onBehalfOf: '', source: 'none' }, credential: '' });
    const { refusal } = await world.openWith({ token: undefined, passage: 'ses_t', parameters: { options: '-c role=admin' } });
    expect(refusal).toMatchObject({ kind: 'UNSUPPORTED', message: expect.stringContaining('"role"') });
    expect(world.record('ses_t')).toEqual(['session_closed failed']);
    expect(world.sessions.size).toBe(0);
  });

  test('fails closed when nothing can be recorded', async () => {
    world.lost = true;
    expect((await world.openWith()).refusal).toMatchObject({ kind: 'UNAVAILABLE', message: expect.stringContaining('disk is full') });
    expect(world.sessions.size).toBe(0);
  });

  test('fails when the credential cannot be had, and the record says so', async () => {
    world.decide = () => allow({ credential: 'missing' });
    const { session, refusal } = await world.openWith();
    expect(refusal?.kind).toBe('UNAVAILABLE');
    expect(world.record(session).at(-1)).toBe('session_closed failed');
  });

  test('takes up the session of a tunnel, once', async () => {
    world.passages.set('ses_t', { identity: AGENT, run: { id: '', onBehalfOf: '', source: 'none' }, credential: '' });
    expect(await world.openWith({ token: undefined, passage: 'ses_t' })).toMatchObject({ session: 'ses_t' });
    expect((await world.openWith({ token: undefined, passage: 'ses_t' })).refusal?.kind).toBe('UNAVAILABLE');
  });

  test('is bounded', async () => {
    await world.close();
    world = await new World().open({ maxSessions: 1 });
    await world.openWith();
    expect((await world.openWith()).refusal).toMatchObject({ kind: 'UNAVAILABLE', message: expect.stringContaining('too many') });
  });
});

describe('the log-in', () => {
  test('answers the target, and tells the record that the session is let in before the client hears of it', async () => {
    const { session } = await world.openWith();
    expect((await world.ask('LogIn', { session, message: Buffer.from('R\0\0\0\x08\0\0\0\x03') })).reply.toString()).toBe(
      'p\0\0\0\x0bpencil\0',
    );
    expect((await world.judge(session, 'select 1')).refused?.kind).toBe('UNAVAILABLE');
    expect((await world.ask('Ready', { session, cancelKey: Buffer.from('k') })).refusal).toBeNull();
    expect(world.record(session).at(-1)).toBe('request_forwarded e1');
  });

  test('that the target refuses ends the session, without a word of the target', async () => {
    const { session } = await world.openWith();
    const { refusal } = await world.ask('LogIn', { session, message: Buffer.from('E\0\0\0\x20SFATAL\0C28P01\0Mis secret\0\0\0\0') });
    expect(refusal).toMatchObject({ kind: 'UNAVAILABLE', message: expect.stringContaining('28P01') });
    expect(JSON.stringify(refusal)).not.toContain('secret');
    expect(world.record(session).at(-1)).toBe('session_closed failed');
    expect((await world.ask('Ready', { session })).refusal?.kind).toBe('UNAVAILABLE');
  });

  test('that ends before the target has proved itself ends the session', async () => {
    const { session } = await world.openWith();
    await world.ask('LogIn', { session, message: Buffer.from('R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0') });
    expect((await world.ask('Ready', { session })).refusal?.message).toMatch(/before it had proved itself/);
    expect(world.sessions.size).toBe(0);
  });

  test('is not done twice', async () => {
    const session = await world.ready();
    expect((await world.ask('LogIn', { session, message: Buffer.from('R\0\0\0\x08\0\0\0\x03') })).refusal?.kind).toBe('UNAVAILABLE');
    expect((await world.ask('Ready', { session })).refusal?.kind).toBe('UNAVAILABLE');
  });

  test('is not released when that cannot be recorded', async () => {
    const { session } = await world.openWith();
    world.lost = true;
    expect((await world.ask('Ready', { session })).refusal?.kind).toBe('UNAVAILABLE');
    expect(world.faults.splice(0)).toHaveLength(1);
  });
});

describe('judging', () => {
  test('numbers commands, and records each without opening the session anew', async () => {
    const session = await world.ready();
    expect(await world.judge(session, 'select 1')).toMatchObject({
      command: 1,
      allowed: { eachExecution: false, policyRevision: 'rev-1' },
    });
    world.decide = () => deny;
    expect(await world.judge(session, 'delete')).toMatchObject({
      command: 2,
      refused: {
        kind: 'DENIED',
        message: 'the policy does not allow this statement: nothing is deleted here',
        detail: `Rule: no-deletes. Session: ${session}.`,
      },
    });
    expect(world.record(session)).toEqual([
      'session_opened',
      'request_judged allow',
      'request_forwarded e1',
      'request_judged 1 allow',
      'request_judged 2 deny',
    ]);
  });

  test('shows the policy the whole text, and the record the masked one', async () => {
    world.analyse = () => analysisOf({ maskedText: "select * from c where ssn = '***'", touchesSensitive: true });
    const session = await world.ready();
    await world.judge(session, "select * from c where ssn = $1 or ssn = '123'", {
      parameters: [{ value: Buffer.from('secret-1') }, { null: true }],
    });
    expect(world.inputs.at(-1)?.request).toMatchObject({
      statement: "select * from c where ssn = $1 or ssn = '123'",
      parameters: ['secret-1', null],
    });
    const recorded = JSON.stringify(world.tap.at(-1));
    expect(recorded).toContain("ssn = '***'");
    expect(recorded).not.toContain('123');
    expect(recorded).not.toContain('secret-1');
  });

  const PLAIN = { maskedText: 'select 1', expands: false };
  const ANALYSIS = { dependsOn: ['identity', 'target', 'analysis'] };
  test.each([
    ['nothing of it rests on the text', PLAIN, allow(ANALYSIS), 'SHAPE'],
    ['it is of the session and the run', PLAIN, allow({ dependsOn: ['identity', 'run', 'target', 'session', 'analysis'] }), 'SHAPE'],
    ['it rests on the text', PLAIN, allow(), 'TEXT'],
    ['it rests on the text beside the analysis', PLAIN, allow({ dependsOn: ['analysis', 'statement'] }), 'TEXT'],
    ['it shows a masked column by name', { ...PLAIN, touchesSensitive: true }, allow(ANALYSIS), 'SHAPE'],
    ['it shows all columns of nothing sensitive', { ...PLAIN, expands: true }, allow(ANALYSIS), 'SHAPE'],
    ['it rests on the time', PLAIN, allow({ dependsOn: ['analysis', 'time'] }), 'REUSE_UNSPECIFIED'],
    ['it rests on parameters', PLAIN, allow({ dependsOn: ['analysis', 'parameters'] }), 'REUSE_UNSPECIFIED'],
    ['it does not say what it rests on', PLAIN, allow({ dependsOn: [] }), 'REUSE_UNSPECIFIED'],
    ['it is held', PLAIN, hold(ANALYSIS), undefined],
    ['it is denied', PLAIN, deny, undefined],
    ['it writes', { ...PLAIN, readOnly: false }, allow(ANALYSIS), 'REUSE_UNSPECIFIED'],
    ['a literal of it is masked in the record', { ...PLAIN, maskedText: "select '***'" }, allow(ANALYSIS), 'REUSE_UNSPECIFIED'],
    ['its stars may show sensitive columns', { ...PLAIN, expands: true, touchesSensitive: true }, allow(ANALYSIS), 'REUSE_UNSPECIFIED'],
    ['it is of several statements', { ...PLAIN, statements: 2 }, allow(ANALYSIS), 'REUSE_UNSPECIFIED'],
    ['it is no query', { ...PLAIN, request: { commands: ['set:work_mem'] } }, allow(ANALYSIS), 'REUSE_UNSPECIFIED'],
    ['it does more than to read', { ...PLAIN, request: { commands: ['select', 'lock'] } }, allow(ANALYSIS), 'REUSE_UNSPECIFIED'],
    ['it is not seen through', { ...PLAIN, request: { complete: false } }, allow(ANALYSIS), 'REUSE_UNSPECIFIED'],
    ['a relation is not known', { ...PLAIN, request: { reads: [{ schema: '', name: 't' }] } }, allow(ANALYSIS), 'REUSE_UNSPECIFIED'],
  ])('is good for others when %s', async (_, analysis, decision, reuse) => {
    const session = await world.ready();
    world.analyse = () => analysisOf(analysis);
    world.decide = () => decision;
    const { allowed } = await world.judge(session, 'select 1');
    expect(allowed?.reuse).toBe(reuse);
    expect(allowed?.unsettles ?? false).toBe(false);
  });

  test('a star over sensitive columns is refused after a change of this session, until the target says that no transaction is open', async () => {
    const session = await world.ready();
    world.analyse = (text) =>
      analysisOf(text === 'alter' ? { readOnly: false, request: { commands: ['ddl'] } } : { expands: true, touchesSensitive: true });
    world.decide = () => allow({ obligations: [{ type: 'mask', field: 'public.customers.ssn', method: 'full' }] });
    await world.judge(session, 'alter', { idle: true });
    expect((await world.judge(session, 'select *')).refused?.message).toMatch(/not known what \* stands for/);
    const before = world.catalogReads;
    expect((await world.judge(session, 'select *', { idle: true })).allowed).toBeTruthy();
    expect(world.catalogReads).toBeGreaterThan(before);
    expect((await world.judge(session, 'select *')).allowed).toBeTruthy();
  });

  test.each([
    ['SAVEPOINT s', false],
    ['RELEASE s', false],
    ['ROLLBACK TO s', false],
    ['SET CONSTRAINTS ALL DEFERRED', false],
    ['BEGIN', false],
    ["COMMIT PREPARED 'p'", false],
    ["ROLLBACK PREPARED 'p'", false],
    ['COMMIT', true],
    ['END', true],
    ['COMMIT AND CHAIN', true],
    ['ROLLBACK', true],
    ['ABORT', true],
    ["PREPARE TRANSACTION 'p'", true],
    ['ROLLBACK TO s; COMMIT', true],
    ['COMMIT; BEGIN; SAVEPOINT s', true],
    ['COMMIT; ALTER TABLE customers ADD c text', false],
  ])('after a change in a transaction, %s ends it: %s', async (text, ends) => {
    const model = await realModel();
    const session = await world.ready();
    world.analyse = (given) => analyse(given, model);
    world.decide = () => allow({ obligations: [{ type: 'mask', field: 'public.customers.ssn', method: 'full' }] });
    const star = async () => (await world.judge(session, 'SELECT * FROM customers')).refused?.message ?? 'allowed';
    await world.judge(session, 'ALTER TABLE customers RENAME ssn TO x');
    expect(await star()).toMatch(/not known what \* stands for/);
    await world.judge(session, text);
    if (ends) expect(await star()).toBe('allowed');
    else expect(await star()).toMatch(/not known what \* stands for/);
  });

  test.each(["COMMIT PREPARED 'p'", "ROLLBACK PREPARED 'p'", 'COMMIT'])(
    '%s lets the catalog be read again when it may show more',
    async (text) => {
      const model = await realModel();
      const session = await world.ready();
      world.analyse = (given) => analyse(given, model);
      expect((await world.judge(session, text)).allowed?.unsettles).toBe(text !== 'COMMIT');
      await world.judge(session, 'SELECT id FROM customers');
      await world.judge(session, 'SELECT id FROM customers');
      expect(world.catalogReads).toBe(text === 'COMMIT' ? 0 : 1);
    },
  );

  test('is good for itself alone while a change of the database may be on its way, and says so', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout'] });
    try {
      const session = await world.ready();
      const other = await world.ready();
      const read = async (of: string): Promise<string> => {
        world.analyse = () => analysisOf(PLAIN);
        world.decide = () => allow(ANALYSIS);
        const { allowed } = await world.judge(of, 'select 1');
        return `${allowed?.reuse}${allowed?.unsettles ? ' unsettles' : ''}`;
      };
      const run = async (commands: string[], ends?: 'own'): Promise<boolean | undefined> => {
        world.analyse = () => analysisOf({ readOnly: false, ends, request: { commands } });
        return (await world.judge(session, commands.join())).allowed?.unsettles;
      };
      expect([await read(session), await read(other)]).toEqual(['SHAPE', 'SHAPE']);
      expect(await run(['update'])).toBe(false);
      expect(await run(['ddl'])).toBe(true);
      expect([await read(session), await read(other)]).toEqual(['REUSE_UNSPECIFIED unsettles', 'REUSE_UNSPECIFIED']);
      await vi.advanceTimersByTimeAsync(300);
      expect([await read(other), await read(session)]).toEqual(['SHAPE', 'REUSE_UNSPECIFIED unsettles']);
      expect(await run(['transaction'], 'own')).toBe(true);
      expect([await read(session), await read(other)]).toEqual(['REUSE_UNSPECIFIED', 'REUSE_UNSPECIFIED']);
      await vi.advanceTimersByTimeAsync(300);
      expect([await read(session), await read(other)]).toEqual(['SHAPE', 'SHAPE']);
    } finally {
      vi.useRealTimers();
    }
  });

  test('is made of one analysis for the same text, as long as the catalog is the same', async () => {
    const session = await world.ready();
    let analysed = 0;
    world.analyse = () => {
      analysed += 1;
      if (analysed === 1) throw new Error('the worker has gone');
      return analysisOf();
    };
    await world.judge(session, 'select 1').catch(() => {});
    expect(world.faults.splice(0)).toHaveLength(1);
    for (let i = 0; i < 3; i++) expect((await world.judge(session, 'select 1')).allowed).toBeTruthy();
    expect(analysed).toBe(2);
    await world.judge(session, 'select 2');
    expect(analysed).toBe(3);
    world.changeCatalog();
    await world.judge(session, 'select 1');
    expect(analysed).toBe(4);
    for (let i = 0; i < 2; i++) await world.judge(session, `select ${'1'.repeat(3_000)}`);
    expect(analysed).toBe(6);
  });

  describe('of EXECUTE', () => {
    const run = async (session: string, text: string, more = {}) => (await world.judge(session, text, more)).allowed;
    const places = async (session: string, text = 'EXECUTE s'): Promise<unknown> => {
      const allowed = await run(session, text);
      return allowed && [allowed.plan.clearPositions, allowed.plan.positions.map(({ position }) => position), allowed.byName];
    };
    let model: Model;
    beforeEach(async () => {
      model = await realModel();
      world.analyse = (text, _, prepared) => analyse(text, model, prepared);
      world.decide = () => allow({ obligations: [{ type: 'mask', field: 'public.customers.ssn', method: 'full' }] });
    });

    test('goes by what was prepared in this session, by SQL and by the protocol', async () => {
      const [session, other] = [await world.ready(), await world.ready()];
      const asked = (): boolean => (world.inputs.at(-1) as { request: SqlRequest }).request.complete;
      await run(session, 'PREPARE s AS SELECT id + 1, upper(ssn) FROM customers');
      expect(await places(session)).toEqual([[0], [1], true]);
      expect(asked()).toBe(true);
      expect(world.inputs.at(-1)?.request).toMatchObject({ commands: ['execute', 'select'], reads: [{ name: 'customers' }] });
      await run(other, 'SELECT 1', { prepare: true, name: 's' });
      expect(await places(other)).toEqual([[0], [], true]);
      await run(other, 'SELECT upper(ssn) FROM customers', { prepare: true });
      expect(await places(other)).toEqual([[0], [], true]);
      await places(await world.ready());
      expect(asked()).toBe(false);
    });

    test('goes by all that may be prepared, until it is told which is', async () => {
      const session = await world.ready();
      const first = (await world.judge(session, 'PREPARE s AS SELECT upper(ssn) FROM customers')).command;
      await run(session, 'PREPARE s AS SELECT 1');
      expect(await places(session)).toEqual([[], [0], true]);
      const freed = (await world.judge(session, 'DEALLOCATE s', { ended: [first] })).command;
      const { command } = await world.judge(session, 'PREPARE s AS SELECT 2');
      expect(await places(session)).toEqual([[], [0], true]);
      await run(session, 'SELECT 1', { ended: [freed, command] });
      expect(await places(session)).toEqual([[0], [], true]);
    });

    test('that was denied, or waits, prepares nothing', async () => {
      const session = await world.ready();
      world.decide = () => deny;
      await world.judge(session, 'PREPARE s AS SELECT 1');
      await world.judge(session, 'SELECT 1', { prepare: true, name: 's' });
      world.decide = () => hold();
      await world.judge(session, 'PREPARE s AS SELECT 1');
      world.decide = () => allow();
      await places(session);
      expect(world.inputs.at(-1)).toMatchObject({ request: { complete: false } });
    });

    test('knows no name after what could not be seen through', async () => {
      const session = await world.ready();
      await run(session, 'PREPARE s AS SELECT 1');
      // It does not run yet.
      await run(session, 'PREPARE t AS SELECT nobody_knows()');
      expect(await places(session)).toEqual([[0], [], true]);
      await run(session, 'SELECT nobody_knows()');
      expect(await places(session)).toEqual([[], [], true]);
    });

    test('is never judged for more than one execution', async () => {
      const session = await world.ready();
      for (const text of ['PREPARE s AS SELECT 1', 'EXECUTE s', 'EXPLAIN EXECUTE s', 'DEALLOCATE s', 'DISCARD ALL'])
        expect((await run(session, text, { prepare: true }))?.eachExecution, text).toBe(true);
    });

    test('is held, and released, for what was prepared, which its approver is shown', async () => {
      const session = await world.ready();
      await run(session, "PREPARE s AS SELECT id FROM customers WHERE ssn = '1'");
      world.decide = () => hold();
      const execute = (): Promise<string> => world.judge(session, 'EXECUTE s').then(({ held }) => held?.approval ?? '');
      const approval = await execute();
      expect(world.summaries).toEqual(["EXECUTE s ← PREPARE s AS SELECT id FROM customers WHERE ssn = '***'"]);
      const waiting = world.ask('Await', { session, approval });
      await world.answerAll('approve');
      expect((await waiting).allowed?.plan.positions).toBeDefined();
      world.decide = () => allow();
      await run(session, 'PREPARE s AS SELECT 1');
      world.decide = () => hold();
      expect(await execute()).not.toBe(approval);
      expect(world.summaries).toHaveLength(2);
    });
  });

  test.each([
    ['it writes', analysisOf({ readOnly: false }), allow(), true],
    ['it only reads', analysisOf(), allow(), false],
    ['it rests on the parameters', analysisOf(), allow({ dependsOn: ['identity', 'parameters'] }), true],
    ['it rests on the time', analysisOf(), allow({ dependsOn: ['time'] }), true],
    ['the policy does not say what it rests on', analysisOf(), allow({ dependsOn: [] }), true],
    ['it is held', analysisOf(), hold(), true],
  ])('of a prepared text when %s', async (_, analysis, decision, each) => {
    const session = await world.ready();
    world.analyse = () => analysis;
    world.decide = () => decision;
    expect((await world.judge(session, 'x', { prepare: true })).allowed?.eachExecution).toBe(each);
    // What is judged again when it runs is neither held nor recorded before.
    expect(world.record(session).length).toBe(each ? 3 : 4);
    expect(world.states).toEqual([]);
  });

  test('of a prepared text denies at once', async () => {
    const session = await world.ready();
    world.analyse = () => analysisOf({ readOnly: false });
    world.decide = () => deny;
    expect((await world.judge(session, 'x', { prepare: true })).refused?.kind).toBe('DENIED');
    expect(world.record(session).at(-1)).toBe('request_judged 1 deny');
  });

  test.each([
    ['what cannot be parsed', 'syntax', 'UNSUPPORTED', /syntax error/],
    ['what is too long', `select '${'x'.repeat(1024 * 1024)}'`, 'UNSUPPORTED', /1048576 bytes/],
  ])('refuses %s', async (_, text, kind, message) => {
    const session = await world.ready();
    expect((await world.judge(session, text)).refused).toMatchObject({ kind, message: expect.stringMatching(message) });
  });

  test('refuses text and parameters that are no UTF-8', async () => {
    const session = await world.ready();
    expect((await world.ask('Judge', { session, text: Buffer.from([0xff]) })).refused?.kind).toBe('UNSUPPORTED');
    expect((await world.judge(session, 'x', { parameters: [{ value: Buffer.from([0xff]) }] })).refused?.kind).toBe('UNSUPPORTED');
    expect(world.inputs).toHaveLength(1);
  });

  test('reads binary parameters of common types, and shows others as they came', async () => {
    const session = await world.ready();
    const values = [Buffer.from([0, 0, 1, 0]), Buffer.from('text'), Buffer.from([1]), Buffer.from([1, 2])];
    await world.judge(session, 'x', { parameters: values.map((value) => ({ binary: true, value })), parameterTypes: [23, 25, 16, 23] });
    expect(world.inputs.at(-1)?.request).toMatchObject({ parameters: ['256', 'text', 'true', '\\x0102'] });
  });

  test('records what cannot be parsed, and not its text', async () => {
    const session = await world.ready();
    await world.judge(session, 'syntax');
    expect(world.record(session).at(-1)).toBe('request_judged 1 deny');
    expect(JSON.stringify(world.tap.at(-1))).not.toContain('near');
  });

  test('needs a catalog', async () => {
    const session = await world.ready();
    world.catalogFails = true;
    expect((await world.judge(session, 'select 1')).refused).toMatchObject({
      kind: 'UNAVAILABLE',
      message: expect.stringContaining('catalog'),
    });
  });

  test('needs the record', async () => {
    const session = await world.ready();
    world.lost = true;
    expect((await world.judge(session, 'select 1')).refused?.kind).toBe('UNAVAILABLE');
  });

  test('needs a session', async () => {
    expect((await world.judge('ses_none', 'select 1')).refused?.kind).toBe('UNAVAILABLE');
  });

  test('refuses a statement that the policy wants run with another credential', async () => {
    const session = await world.ready();
    world.decide = () => allow({ credential: 'admin' });
    expect((await world.judge(session, 'select 1')).refused?.message).toMatch(/credential "admin"/);
  });

  test('looks at the catalog again for a relation that it does not know, and after DDL', async () => {
    const session = await world.ready();
    world.analyse = () => analysisOf({ request: { reads: [{ schema: '', name: 'new' }] } });
    await world.judge(session, 'select * from new');
    expect(world.catalogReads).toBe(1);
    world.analyse = () => analysisOf({ readOnly: false, request: { commands: ['ddl'] } });
    await world.judge(session, 'alter table t add c int');
    expect(world.catalogReads).toBe(1);
    world.analyse = () => analysisOf({ ends: 'own', request: { commands: ['transaction'] } });
    await world.judge(session, 'commit');
    expect(world.catalogReads).toBe(2);
    world.analyse = () => analysisOf();
    await world.judge(session, 'select 1');
    await world.judge(session, 'select 1');
    expect(world.catalogReads).toBe(3);
  });
});

describe('the plan', () => {
  const mask = (field: string, method = 'partial') => ({ type: 'mask', field, method, keepFirst: 0, keepLast: 4 });
  const planFor = async (analysis: Parameters<typeof analysisOf>[0], obligations: object[]) => {
    const session = await world.ready();
    world.analyse = () => analysisOf(analysis);
    world.decide = ({ commands }) => (commands[0] === 'connect' ? allow() : allow({ obligations }));
    return world.judge(session, 'x');
  };

  test('names the columns, with those of partitions and views', async () => {
    const { allowed } = await planFor({ touchesSensitive: true, result: ['origin', 'clear', 'sensitive'] }, [mask('public.customers.ssn')]);
    expect(allowed?.plan).toMatchObject({
      unproven: { method: 'NULL' },
      clearPositions: [1],
      positions: [{ position: 2 }],
      maskMessages: true,
    });
    expect(allowed?.plan.origins.map(({ table, attribute, rule }) => [table, attribute, rule.id, rule.method])).toEqual([
      [16_400, 2, 'public.customers.ssn', 'PARTIAL'],
      [16_410, 1, 'public.customers.ssn', 'PARTIAL'],
      // Of a view nothing is kept: it may show a part of the value already.
      [16_420, 1, 'unproven', 'NULL'],
    ]);
  });

  test('leaves the columns out where the filter says that it has them, and only these', async () => {
    const session = await world.ready();
    world.analyse = () => analysisOf({ touchesSensitive: true, result: ['origin'] });
    const planned = async (method: string, knownOrigins: Buffer) => {
      world.decide = ({ commands }) =>
        commands[0] === 'connect' ? allow() : allow({ obligations: [mask('public.customers.ssn', method)] });
      const { allowed } = await world.judge(session, 'x', { knownOrigins });
      return {
        count: allowed?.plan.origins.length,
        id: Buffer.from(allowed?.plan.originsId ?? []),
        unproven: allowed?.plan.unproven?.method,
      };
    };
    const { id } = await planned('partial', Buffer.alloc(0));
    expect(id).toHaveLength(16);
    expect(await planned('partial', id)).toEqual({ count: 0, id, unproven: 'NULL' });
    expect(await planned('partial', Buffer.alloc(16))).toMatchObject({ count: 3, id });
    // The same columns, to be masked otherwise.
    const otherwise = await planned('full', id);
    expect(otherwise.count).toBe(3);
    expect(otherwise.id).not.toEqual(id);
  });

  test('masks what views show as the columns are masked, where that keeps nothing', async () => {
    const { allowed } = await planFor({ touchesSensitive: true }, [mask('public.customers.ssn', 'null')]);
    expect(allowed?.plan.origins).toContainEqual(
      expect.objectContaining({
        table: 16_420,
        attribute: 1,
        rule: expect.objectContaining({ id: 'public.customers.ssn', method: 'NULL' }),
      }),
    );
  });

  test('of what touches nothing sensitive lets expressions and messages pass', async () => {
    const { allowed } = await planFor({}, [mask('public.customers.ssn')]);
    expect(allowed?.plan).toMatchObject({ maskMessages: false, positions: [] });
    expect(allowed?.plan.unproven ?? undefined).toBeUndefined();
  });

  test('where the result is not known masks all that views show', async () => {
    const { allowed } = await planFor({ touchesSensitive: true, result: undefined }, [mask('public.customers.ssn')]);
    expect(allowed?.plan.origins).toContainEqual(
      expect.objectContaining({ table: 16_420, attribute: 1, rule: expect.objectContaining({ method: 'NULL' }) }),
    );
  });

  test('analyses again when more must be masked than the target calls sensitive', async () => {
    const asked: (readonly string[])[] = [];
    const session = await world.ready();
    world.analyse = (_, sensitive) => {
      asked.push(sensitive);
      return analysisOf({ touchesSensitive: sensitive.length > 1 });
    };
    world.decide = () => allow({ obligations: [mask('public.customers.id', 'null')] });
    const { allowed } = await world.judge(session, 'x');
    expect(asked).toEqual([['public.customers.ssn'], ['public.customers.ssn', 'public.customers.id']]);
    expect(allowed?.plan.unproven?.method).toBe('NULL');
  });

  test.each([
    [
      'COPY in binary',
      { touchesSensitive: true, copyOut: { format: 'binary', columns: ['sensitive'] } },
      [mask('public.customers.ssn')],
      /binary/,
    ],
    [
      'COPY of what is not known',
      { touchesSensitive: true, copyOut: { format: 'text', columns: undefined } },
      [mask('public.customers.ssn')],
      /COPY/,
    ],
    [
      'several statements of which nothing is known',
      { touchesSensitive: true, statements: 2, result: undefined },
      [mask('public.customers.ssn')],
      /one by one/,
    ],
    ['a relation that nobody knows', { request: { reads: [{ schema: '', name: 'x' }] } }, [mask('public.customers.ssn')], /does not know/],
    ['detectors', {}, [{ type: 'detect', detector: 'iban', method: 'full', keepFirst: 0, keepLast: 0 }], /detectors/],
    ['a hash without a key', {}, [mask('public.customers.ssn', 'hash')], /masking.key/],
    ['a field that is no column', {}, [mask('**.ssn')], /column/],
  ] as const)('cannot be made for %s, so it does not run', async (_, analysis, obligations, reason) => {
    const { refused, allowed } = await planFor(analysis as never, [...obligations]);
    expect(allowed).toBeUndefined();
    expect(refused).toMatchObject({ kind: 'UNSUPPORTED', message: expect.stringMatching(reason) });
  });

  test('of COPY gives each column its rule', async () => {
    const { allowed } = await planFor({ touchesSensitive: true, copyOut: { format: 'csv', columns: ['clear', 'sensitive'] } }, [
      mask('public.customers.ssn'),
    ]);
    expect(allowed?.plan.copyOut).toMatchObject({ format: 'CSV', columns: [{ id: '' }, { id: 'unproven', method: 'FULL' }] });
  });

  test('without obligations lets COPY pass in any format', async () => {
    const { allowed } = await planFor({ touchesSensitive: true, copyOut: { format: 'binary', columns: ['sensitive'] } }, []);
    expect(allowed?.plan.copyOut).toMatchObject({ columns: [] });
  });
});

describe('a held command', () => {
  const held = async (session: string, text = 'drop table t', more: object = {}) => {
    world.decide = () => hold();
    world.analyse = () => analysisOf({ readOnly: false });
    const answer = await world.judge(session, text, more);
    if (!answer.held) throw new Error(JSON.stringify(answer));
    return answer.held;
  };

  test('is told of at once, and runs once it is approved', async () => {
    const session = await world.ready();
    const { approval, message, hint } = await held(session);
    expect(message).toContain(approval);
    expect(hint).toContain(`sluice approve ${approval}`);
    const waiting = world.ask('Await', { session, approval });
    await world.answerAll('approve');
    expect(await waiting).toMatchObject({ command: 1, allowed: { eachExecution: true } });
    expect(world.record(session).slice(3)).toEqual(['request_judged 1 hold', 'request_held 1', 'hold_answered 1 approved']);
  });

  test('is answered though nobody had asked for the answer yet', async () => {
    const session = await world.ready();
    const { approval } = await held(session);
    await world.answerAll('deny', 'not today');
    expect(await world.ask('Await', { session, approval })).toMatchObject({
      command: 1,
      refused: { kind: 'DENIED', message: expect.stringContaining('not today') },
    });
    expect((await world.ask('Await', { session, approval })).refused?.kind).toBe('UNAVAILABLE');
  });

  test('is given up when the call that waits ends', async () => {
    const session = await world.ready();
    const { approval } = await held(session);
    const { cancel } = world.call('Await', { session, approval });
    await new Promise((resolve) => setTimeout(resolve, 50));
    cancel();
    await later(() => expect(world.states).toEqual(['cancelled']));
    world.decide = () => allow();
    expect((await world.judge(session, 'select 1')).allowed).toBeDefined();
  });

  test('is cancelled by the key of its connection, and by no other', async () => {
    const [session, other] = [await world.ready(), await world.ready()];
    const { approval } = await held(session);
    const waiting = world.ask('Await', { session, approval });
    const cancelBy = (key: string, target = 'ledger') => world.ask('Cancel', { target, cancelKey: Buffer.from(key) });
    expect((await cancelBy('no such key')).known).toBe(false);
    expect((await cancelBy(`key of ${session}`, 'elsewhere')).known).toBe(false);
    expect((await cancelBy(`key of ${other}`)).known).toBe(true);
    expect(world.states).toEqual(['pending']);
    expect((await cancelBy(`key of ${session}`)).known).toBe(true);
    expect((await waiting).refused?.kind).toBe('CANCELLED');
    await later(() => expect(world.states).toEqual(['cancelled']));
  });

  test('is cancelled by what came while it was judged, and the next one is not', async () => {
    const session = await world.ready();
    let cancelled = false;
    world.taking = async ({ body }) => {
      if (body.kind !== 'request_judged' || cancelled) return;
      cancelled = true;
      expect((await world.ask('Cancel', { target: 'ledger', cancelKey: Buffer.from(`key of ${session}`) })).known).toBe(true);
    };
    const { approval } = await held(session);
    expect((await world.ask('Await', { session, approval })).refused?.kind).toBe('CANCELLED');
    await held(session, 'drop table u');
    expect(world.states.toSorted()).toEqual(['cancelled', 'pending']);
  });

  test('is cancelled with its session, before the end of that is recorded', async () => {
    const session = await world.ready();
    await held(session);
    await world.ask('Close', { session, outcome: 'cancelled' });
    await later(() => expect(world.states).toEqual(['cancelled']));
    expect(world.record(session).at(-1)).toBe('session_closed cancelled');
    expect((await world.ask('Cancel', { target: 'ledger', cancelKey: Buffer.from(`key of ${session}`) })).known).toBe(false);
  });

  test('is released for its own parameters only', async () => {
    const session = await world.ready();
    const { approval } = await held(session, 'delete', { parameters: [{ value: Buffer.from('1') }] });
    const waiting = world.ask('Await', { session, approval });
    await world.answerAll('approve');
    expect((await waiting).allowed).toBeDefined();
    expect((await held(session, 'delete', { parameters: [{ value: Buffer.from('2') }] })).approval).not.toBe(approval);
    expect((await held(session, 'delete', { parameters: [{ value: Buffer.from('1') }] })).approval).not.toBe(approval);
  });
});

describe('the end', () => {
  test('stands after what was being judged when it came, and nothing is held any more', async () => {
    const session = await world.ready();
    let taken = (): void => {};
    world.taking = ({ body }) => (body.kind === 'request_judged' ? new Promise<void>((resolve) => (taken = resolve)) : Promise.resolve());
    world.decide = () => hold();
    world.analyse = () => analysisOf({ readOnly: false });
    const judged = world.judge(session, 'drop table t');
    await new Promise((resolve) => setTimeout(resolve, 30));
    const closed = world.ask('Close', { session, outcome: 'cancelled' });
    await new Promise((resolve) => setTimeout(resolve, 30));
    taken();
    await Promise.all([judged, closed]);
    await later(() => expect(world.states).toEqual(['cancelled']));
    expect(world.record(session).slice(3)).toEqual([
      'request_judged 1 hold',
      'request_held 1',
      'hold_answered 1 cancelled',
      'session_closed cancelled',
    ]);
  });

  test('is recorded once', async () => {
    const session = await world.ready();
    await world.ask('Close', { session, outcome: 'complete' });
    await world.ask('Close', { session, outcome: 'complete' });
    expect(world.record(session).filter((line) => line.startsWith('session_closed'))).toEqual(['session_closed complete']);
    expect(world.sessions.size).toBe(0);
  });

  test('waits for what the filter has told before, by its own emitter alone', async () => {
    const session = await world.ready();
    await world.ask('Close', { session, outcome: 'complete', nextSequence: 18, next_sequence: 18 });
    const old = await world.ready();
    await world.ask('Close', { session: old, outcome: 'nonsense' });
    expect(world.ends).toEqual([
      { session, target: 'ledger', outcome: 'complete', emitter: 'e1', nextSequence: 18 },
      { session: old, target: 'ledger', outcome: 'failed', emitter: 'e1', nextSequence: 0 },
    ]);
  });

  test('comes with that of its emitter', async () => {
    await world.close();
    world = await new World().open({ graceMs: 20, sweepEveryMs: 10 });
    const session = await world.ready();
    await new Promise((resolve) => setTimeout(resolve, 60));
    expect(world.sessions.size).toBe(1);
    world.served = false;
    await later(() => expect(world.sessions.size).toBe(0));
    expect((await world.judge(session, 'select 1')).refused?.kind).toBe('UNAVAILABLE');
  });

  test('of the service gives every hold a clear answer', async () => {
    const session = await world.ready();
    world.decide = () => hold();
    const { held } = await world.judge(session, 'drop');
    const waiting = world.ask('Await', { session, approval: held?.approval });
    await new Promise((resolve) => setTimeout(resolve, 30));
    world.sessions.stop();
    expect((await waiting).refused?.kind).toBe('CANCELLED');
  });
});

describe('what was not judged', () => {
  test.each([
    ['too long', { text: Buffer.alloc(1024 * 1024 + 1, 'x') }, '54000', 'too_large'],
    ['not UTF-8', { text: Buffer.from([0xff]) }, '22021', 'encoding'],
    ['with a value that is not UTF-8', { parameters: [{ value: Buffer.from([0xff]) }], parameterTypes: [25] }, '22021', 'encoding'],
    ['no SQL', { text: Buffer.from('syntax') }, '42601', 'syntax'],
  ])('because it is %s is recorded, without its text', async (_, more, code, reason) => {
    const session = await world.ready();
    expect(await world.judge(session, 'select', more)).toMatchObject({ command: 1, refused: { code } });
    expect(world.record(session).at(-1)).toBe('request_judged 1 deny');
    expect(world.tap.at(-1)?.body).toMatchObject({ request: '(a statement that was not judged)', reason: expect.stringContaining(reason) });
  });

  test('because the filter refused it is recorded, and counts', async () => {
    const session = await world.ready();
    await world.ask('Refused', { session, code: '54000' });
    expect(world.tap.at(-1)).toMatchObject({
      command: 1,
      body: { kind: 'request_judged', effect: 'deny', reason: '54000: the filter refused it' },
    });
    expect(await world.judge(session, 'select 1')).toMatchObject({ command: 2 });
    const before = world.tap.length;
    await world.ask('Refused', { session: 'another', code: '54000' });
    expect(world.tap.length).toBe(before);
  });
});

describe('when the token has expired', () => {
  const expired = { refused: { kind: 'UNAUTHENTICATED', message: expect.stringContaining('expired') } };

  test('no command begins, and the filter knows when that is', async () => {
    world.expiresAt = Date.now() + 200;
    const { session, validMs } = await world.openWith();
    expect(validMs).toBeGreaterThan(100);
    expect(validMs).toBeLessThanOrEqual(200);
    await world.ask('LogIn', { session, message: Buffer.from('R\0\0\0\x08\0\0\0\x03') });
    await world.ask('Ready', { session });
    expect((await world.judge(session, 'select 1')).allowed).toBeDefined();
    await new Promise((resolve) => setTimeout(resolve, 210));
    expect(await world.judge(session, 'select 1')).toMatchObject(expired);
    expect(world.record(session).at(-1)).toBe('request_judged 2 deny');
  });

  test('a held command ends', async () => {
    await world.close();
    world = await new World().open({ sweepEveryMs: 10 });
    world.expiresAt = Date.now() + 200;
    const session = await world.ready();
    world.decide = () => hold();
    world.analyse = () => analysisOf({ readOnly: false });
    const { held } = await world.judge(session, 'drop table t');
    expect(await world.ask('Await', { session, approval: held?.approval })).toMatchObject(expired);
    expect(Date.now()).toBeGreaterThanOrEqual(world.expiresAt);
    expect(world.states).toEqual(['cancelled']);
  });

  test('sessions of a tunnel end as well', async () => {
    world.passages.set('ses_t', {
      identity: AGENT,
      run: { id: '', onBehalfOf: '', source: '' } as never,
      credential: '',
      expiresAt: Date.now() + 60_000,
    });
    const { validMs } = await world.openWith({ token: undefined, passage: 'ses_t' });
    expect(validMs).toBeGreaterThan(50_000);
    expect((await world.openWith()).validMs).toBe(0);
  });
});

describe('a generation', () => {
  test('stands with each judgement: the one in which that began', async () => {
    const session = await world.ready();
    const before = world.generations.current;
    world.decide = () => {
      world.generations.begin();
      return allow();
    };
    expect((await world.judge(session, 'select 1')).allowed).toMatchObject({ generation: before });
    world.decide = () => allow();
    expect((await world.judge(session, 'select 1')).allowed).toMatchObject({ generation: before + 1 });
  });

  test('is told to whoever waits for it', async () => {
    const first = await world.ask('Generation', { emitter: 'e1', known: 0 });
    expect(first).toMatchObject({ generation: world.generations.current, leaseMs: 300 });
    const waiting = world.ask('Generation', { emitter: 'e1', known: first.generation });
    await new Promise((resolve) => setTimeout(resolve, 30));
    const now = world.generations.begin();
    expect((await waiting).generation).toBe(now);
  });

  test('of a held command is the one in which it was answered', async () => {
    const session = await world.ready();
    world.decide = () => hold();
    world.analyse = () => analysisOf({ readOnly: false });
    const { held } = await world.judge(session, 'drop table t');
    world.changeCatalog();
    const now = world.generations.begin();
    let analysed = 0;
    world.analyse = () => {
      analysed += 1;
      return analysisOf({ readOnly: false });
    };
    await world.answerAll('approve');
    expect((await world.ask('Await', { session, approval: held?.approval })).allowed).toMatchObject({ generation: now });
    expect(analysed).toBe(1);
  });
});
