import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { caller } from '../storage/call.ts';
import { type Checkpoint, openCheckpoint } from '../tlog/checkpoint.ts';
import { generateSignerKey, parseSignerKey } from '../tlog/note.ts';
import { Witness, WitnessError } from './client.ts';
import { MemoryLog, StrictWitness } from './witness.fixture.ts';
import { Witnessing, type WitnessingOptions } from './witnessing.ts';

const call = caller({ attempts: 1, timeoutMs: 300 });
let log: MemoryLog;
let strict: StrictWitness;
const others: StrictWitness[] = [];

beforeEach(async () => {
  log = new MemoryLog('sluice.example/gateway-1').add('a', 'b', 'c');
  strict = await new StrictWitness(log).open();
});

afterEach(async () => {
  await strict.close();
  for (const other of others.splice(0)) await other.close();
});

const witnessOf = (of: StrictWitness, prover: MemoryLog, by = call): Witness =>
  new Witness({ name: 'strict', url: of.url, keys: [of.key.verifier] }, by, prover.prove);
const checkpointOf = (of: MemoryLog): Checkpoint => openCheckpoint(of.checkpoint(), of.origin, [of.key.verifier]);
const show = (witness: Witness, of: MemoryLog) => witness.cosign(of.checkpoint(), checkpointOf(of));
const codeOf = async (promise: Promise<unknown>): Promise<string> => {
  try {
    await promise;
    return 'none';
  } catch (error) {
    return error instanceof WitnessError ? error.code : `not coded: ${error}`;
  }
};

describe('a witness', () => {
  it('cosigns a log as it grows', async () => {
    const witness = witnessOf(strict, log);
    for (let size = 3; size < 40; size += 7) {
      expect((await show(witness, log)).map(({ name }) => name)).toEqual(['witness.example/strict']);
      expect([witness.size, strict.latest.size]).toEqual([size, size]);
      log.add(...Array.from({ length: 7 }, (_, n) => `${size}.${n}`));
    }
    expect(strict.requests).toBe(6);
  });

  it('is asked anew by a service that knows nothing of it any more', async () => {
    await show(witnessOf(strict, log), log);
    log.add('d');
    const witness = witnessOf(strict, log);
    await show(witness, log);
    expect([witness.size, strict.requests]).toEqual([4, 3]);
  });

  it('is asked from the beginning when it has forgotten', async () => {
    const witness = witnessOf(strict, log);
    await show(witness, log);
    strict.latest = { size: 0, root: strict.latest.root };
    await show(witness, log.add('d'));
    expect(strict.latest.size).toBe(4);
  });

  it('refuses a fork, and one that went back', async () => {
    const fork = log.fork(2).add('another', 'd');
    const witness = witnessOf(strict, log);
    await show(witness, log);
    expect(await codeOf(show(witnessOf(strict, fork), fork))).toBe('forked');
    expect(await codeOf(show(witnessOf(strict, log), log.fork(2)))).toBe('ahead');
    const same = log.fork(2).add('another');
    expect(await codeOf(show(witnessOf(strict, same), same))).toBe('forked');
    expect(strict.latest).toMatchObject({ size: 3 });
  });

  it('does not know another log, and no other key', async () => {
    const other = new MemoryLog('sluice.example/gateway-2').add('a');
    expect(await codeOf(show(witnessOf(strict, other), other))).toBe('unknown_log');
    const impostor = new MemoryLog(log.origin).add('a');
    expect(await codeOf(show(witnessOf(strict, impostor), impostor))).toBe('unknown_log');
  });

  it.each([
    ['without a signature', { status: 200, body: '' }],
    ['with text', { status: 200, body: 'fine\n' }],
    ['with bytes', { status: 200, body: '\0\n' }],
    ['with a size of nothing', { status: 409, type: 'text/x.tlog.size', body: '\n' }],
    ['with a size of another kind', { status: 409, type: 'text/plain', body: '3\n' }],
    ['with a size beyond numbers', { status: 409, type: 'text/x.tlog.size', body: '9999999999999999\n' }],
    ['with a size below zero', { status: 409, type: 'text/x.tlog.size', body: '-1\n' }],
    ['with an error', { status: 500, body: 'sorry' }],
    ['with something else', { status: 302, body: '' }],
  ] as const)('that answers %s is away', async (_, fault) => {
    strict.faults.push(fault);
    expect(await codeOf(show(witnessOf(strict, log), log))).toBe('unavailable');
  });

  it('that answers with the signature of somebody else is away', async () => {
    const other = await new StrictWitness(log).open();
    others.push(other);
    const { key } = strict;
    const witness = new Witness({ name: 'strict', url: other.url, keys: [key.verifier] }, call, log.prove);
    expect(await codeOf(show(witness, log))).toBe('unavailable');
  });

  it('that changes its mind each time is away', async () => {
    const conflict = (size: number) => ({ status: 409, type: 'text/x.tlog.size', body: `${size}\n` });
    strict.faults.push(conflict(1), conflict(2));
    expect(await codeOf(show(witnessOf(strict, log), log))).toBe('unavailable');
  });
});

describe('witnessing', () => {
  interface Setting {
    readonly witnessing: Witnessing;
    readonly published: string[];
    readonly problems: string[];
  }
  const settingOf = (witnesses: readonly StrictWitness[], quorum: number, options: Partial<WitnessingOptions> = {}): Setting => {
    const [published, problems]: [string[], string[]] = [[], []];
    const witnessing = new Witnessing({
      witnesses: witnesses.map((of) => witnessOf(of, log)),
      quorum,
      newest: async () => log.checkpoint(),
      publish: async (note) => void published.push(note),
      onProblem: (error) => problems.push(error instanceof WitnessError ? error.code : String(error)),
      ...options,
    });
    return { witnessing, published, problems };
  };
  const cosigners = (note: string | undefined, witnesses: readonly StrictWitness[]): number =>
    openCheckpoint(note ?? '', log.origin, [log.key.verifier, ...witnesses.map(({ key }) => key.verifier)]).verified.length - 1;

  const three = async (): Promise<StrictWitness[]> => {
    for (let n = 0; n < 2; n += 1) others.push(await new StrictWitness(log).open());
    return [strict, ...others];
  };

  it('publishes a checkpoint that enough have cosigned, and again with every further one', async () => {
    const witnesses = await three();
    const { witnessing, published } = settingOf(witnesses, 2);
    await witnessing.round();
    expect(published.map((note) => cosigners(note, witnesses))).toEqual([2, 3]);
    expect(witnessing.progress).toMatchObject({ newest: 3, witnessed: 3 });
    await witnessing.round();
    expect([published.length, strict.requests]).toEqual([2, 1]);
  });

  it('publishes nothing that too few have cosigned, and goes on when one is back', async () => {
    let now = 1_000_000;
    const witnesses = await three();
    const { witnessing, published, problems } = settingOf(witnesses, 2, { now: () => now });
    for (const { away } of [witnesses[1] as StrictWitness, witnesses[2] as StrictWitness].map((one) => Object.assign(one, { away: true })))
      expect(away).toBe(true);
    await witnessing.round();
    log.add('d');
    await witnessing.round();
    expect([published, problems]).toEqual([[], ['unavailable', 'unavailable']]);
    expect(witnessing.progress).toMatchObject({ newest: 4, witnessed: 0 });
    expect(witnessing.statuses.map(({ state, size }) => [state, size])).toEqual([
      ['ok', 4],
      ['unavailable', 0],
      ['unavailable', 0],
    ]);
    (witnesses[1] as StrictWitness).away = false;
    // It is not asked before its time.
    await witnessing.round();
    expect(published).toEqual([]);
    now += 1_000;
    await witnessing.round();
    expect(published.map((note) => cosigners(note, witnesses))).toEqual([2]);
    expect(witnessing.progress).toEqual({ newest: 4, witnessed: 4, witnessedAt: now });
  });

  it('says each time that a witness refuses a fork', async () => {
    await witnessOf(strict, log).cosign(log.checkpoint(), checkpointOf(log));
    const fork = log.fork(2).add('another', 'd');
    let now = 0;
    const { witnessing, published, problems } = settingOf([], 1, {
      witnesses: [witnessOf(strict, fork)],
      newest: async () => fork.checkpoint(),
      now: () => now,
    });
    await witnessing.round();
    now += 3_600_000;
    await witnessing.round();
    expect([published, problems]).toEqual([[], ['forked', 'forked']]);
  });

  it('shows a checkpoint that stays the newest again after a while', async () => {
    let now = 1_000_000;
    const { witnessing } = settingOf([strict], 1, { now: () => now });
    await witnessing.round();
    now += 599_000;
    await witnessing.round();
    expect(strict.requests).toBe(1);
    now += 1_000;
    await witnessing.round();
    expect(strict.requests).toBe(2);
  });

  it('waits for no witness that says nothing, and ends at once', async () => {
    const witnesses = await three();
    strict.faults.push('silence', 'silence');
    const patient = caller({ attempts: 1, timeoutMs: 120_000 });
    const asked = witnesses.map((of) => witnessOf(of, log, patient));
    const { witnessing, published } = settingOf(witnesses, 2, { intervalMs: 5, witnesses: asked });
    const begun = Date.now();
    witnessing.start();
    while (published.length === 0) await sleep(5);
    await witnessing.close();
    expect(Date.now() - begun).toBeLessThan(60_000);
  });

  it('goes on after the log could not be read, or the result not be published', async () => {
    let broken = true;
    const { witnessing, problems } = settingOf([strict], 1, {
      intervalMs: 5,
      newest: async () => {
        if (broken) throw new Error('no log');
        return log.checkpoint();
      },
      publish: async () => {
        if (strict.requests < 2) throw new Error('no place');
      },
    });
    witnessing.start();
    while (!problems.includes('Error: no log')) await sleep(5);
    broken = false;
    while (!problems.includes('Error: no place')) await sleep(5);
    log.add('d');
    while (witnessing.progress.witnessed < 4) await sleep(5);
    await witnessing.close();
  });

  it('counts witnesses, not signatures', async () => {
    const second = parseSignerKey(generateSignerKey('witness.example/strict', 'cosignature'));
    const witness = new Witness({ name: 'strict', url: strict.url, keys: [strict.key.verifier, second.verifier] }, call, log.prove);
    const { witnessing, published } = settingOf([], 2, { witnesses: [witness] });
    await witnessing.round();
    expect(published).toEqual([]);
  });
});
