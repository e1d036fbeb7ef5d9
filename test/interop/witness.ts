/** Witnesses against a real one: `witness.ts LITEWITNESS WITNESSCTL`, of filippo.io/torchwood. Says `ok - …` or `not ok - …` for each behaviour. */
import { deepStrictEqual as equal, ok } from 'node:assert';
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { BY_WITNESSES } from '../../authz-service/cli/evidence.ts';
import { Elsewhere } from '../../authz-service/custody/elsewhere.ts';
import { LogError } from '../../authz-service/log/error.ts';
import { LogReader } from '../../authz-service/log/reader.ts';
import { caller } from '../../authz-service/storage/call.ts';
import { localFiles } from '../../authz-service/storage/local_files.ts';
import { openCheckpoint } from '../../authz-service/tlog/checkpoint.ts';
import { formatVerifierKey, generateSignerKey, parseSignerKey, type VerifierKey, verifierKey } from '../../authz-service/tlog/note.ts';
import { Witness, WitnessError } from '../../authz-service/witness/client.ts';
import { MemoryLog } from '../../authz-service/witness/witness.fixture.ts';
import { Witnessing } from '../../authz-service/witness/witnessing.ts';
import { Sluice } from '../e2e/sluice.fixture.ts';
import { freePort } from '../free_port.fixture.ts';
import { end, outcome, show, start } from './server.ts';

const [litewitness = '', witnessctl = ''] = process.argv.slice(2);
const SLUICE = fileURLToPath(new URL('../../sluice', import.meta.url));
const directory = mkdtempSync(join(tmpdir(), 'sluice-witness-'));
const at = (name: string): string => join(directory, name);
const NAME = 'witness.example/real';
const log = new MemoryLog('sluice.example/gateway-1').add('a', 'b', 'c');

/** The witness's key is held by an agent, as its own documentation has it. */
const holdKey = async (): Promise<{ agent: ChildProcess; key: VerifierKey; fingerprint: string }> => {
  execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', at('key')]);
  const agent = spawn('ssh-agent', ['-D', '-a', at('agent.sock')], { stdio: 'ignore' });
  while (!existsSync(at('agent.sock'))) await sleep(20);
  execFileSync('ssh-add', ['-q', at('key')], { env: { ...process.env, SSH_AUTH_SOCK: at('agent.sock') }, stdio: 'ignore' });
  const [, fingerprint = ''] = execFileSync('ssh-keygen', ['-lf', at('key.pub')], { encoding: 'utf8' }).split(' ');
  const blob = Buffer.from(execFileSync('cat', [at('key.pub')], { encoding: 'utf8' }).split(' ')[1] ?? '', 'base64');
  return { agent, key: verifierKey(NAME, 'cosignature', blob.subarray(-32)), fingerprint };
};

const control = (...args: string[]): void =>
  void execFileSync(witnessctl, [args[0] ?? '', '-db', at('witness.db'), ...args.slice(1)], { stdio: 'ignore' });

const codeOf = async (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'none',
    (error: unknown) => (error instanceof WitnessError || error instanceof LogError ? error.code : `not coded: ${error}`),
  );

const { agent, key, fingerprint } = await holdKey();
const port = await freePort();
const call = caller({ attempts: 1, timeoutMs: 5_000 });
const url = new URL(`http://127.0.0.1:${port}`);
const startWitness = (): Promise<ChildProcess> =>
  start(
    litewitness,
    ['-db', at('witness.db'), '-ssh-agent', at('agent.sock'), '-key', fingerprint, '-name', NAME, '-listen', `127.0.0.1:${port}`],
    {},
    port,
  );
const witnessOf = (of: MemoryLog): Witness => new Witness({ name: 'real', url, keys: [key] }, call, of.prove);
const ask = (of: MemoryLog, witness = witnessOf(of)) =>
  witness.cosign(of.checkpoint(), openCheckpoint(of.checkpoint(), of.origin, [of.key.verifier]));

/** What a service that starts with this log, and demands an answer, hears of it. */
const startWith = async (of: MemoryLog): Promise<string> => {
  const witnesses = { quorum: 0, intervalMs: 1_000, of: [{ name: 'real', url: url.href, keys: [formatVerifierKey(key)] }] };
  const elsewhere = new Elsewhere({
    tap: { replicas: [], checkpoints: { everyMs: 1_000, to: [] }, witnesses, requireElsewhere: true },
    signers: [of.key],
    acceptLoss: undefined,
    acceptedPath: at('accepted-losses'),
    logger: { info: () => {}, error: () => {} },
  });
  const note = of.checkpoint();
  return await codeOf(
    elsewhere.confirm({
      origin: of.origin,
      published: of.leaves.length === 0 ? undefined : { ...openCheckpoint(note, of.origin, [of.key.verifier]), note },
      reader: { proveConsistency: of.prove } as unknown as LogReader,
      goesOnFrom: async () => {},
      listedKeys: async () => '',
    }),
  );
};

/** What the gateway itself writes, and the witness cosigns, before the command that auditors use. */
const verifyGateway = async (): Promise<void> => {
  const sluice = await Sluice.start((document) => {
    document.tap = { witnesses: { quorum: 1, of: [{ name: 'real', url: url.href, keys: [formatVerifierKey(key)] }] } };
  });
  try {
    const published = join(sluice.dir, 'state/tap/log');
    const [, own = ''] = readFileSync(join(published, 'keys'), 'utf8').trim().split(' ');
    const origin = own.slice(0, own.indexOf('+'));
    control('add-log', '-origin', origin);
    control('add-key', '-origin', origin, '-key', own);
    equal((await sluice.ask('/customers/1', { token: await sluice.token() })).status, 200);
    const { text } = await sluice.admin('GET', '/v1/sessions', await sluice.approver('olga', ['audit']));
    const { id } = JSON.parse(text).sessions[0];
    await sluice.events(id);
    const cosigned = async (): Promise<number> =>
      (await new LogReader(localFiles(published)).checkpoint('checkpoint.witnessed'))?.size ?? 0;
    for (const deadline = Date.now() + 90_000; (await cosigned()) < 3; await sleep(100))
      if (Date.now() > deadline) throw new Error(`the witness has cosigned ${await cosigned()} leaves of the gateway's`);
    const keys = at('log.pub');
    writeFileSync(keys, `${own}\n`);
    const run = (...args: string[]) => {
      const { status, stdout, stderr } = spawnSync(SLUICE, args, { cwd: sluice.dir, encoding: 'utf8' });
      return { status, said: stdout + stderr };
    };
    const verify = (...args: string[]) =>
      run('verify', ...args, '--key', keys, '--witness', formatVerifierKey(key), '--quorum', '1', '--json');
    const levels = (...runs: ReturnType<typeof run>[]) => runs.map(({ status, said }) => [status, JSON.parse(said).level]);
    await show(
      'litewitness: what it cosigned of a gateway, `sluice verify --witness` says is witnessed: the log, a session, an event',
      async () => equal(levels(verify(), verify(id), verify('--event', '0')), Array(3).fill([0, 'witnessed'])),
    );
    await show('litewitness: `sluice evidence` is proven against that, and is witnessed anywhere', async () => {
      const { status, said } = run('evidence', id, '--out', at('page.html'));
      equal([status, said.includes(BY_WITNESSES)], [0, true]);
      equal(levels(verify(at('page.html'))), [[0, 'witnessed']]);
    });
    await show('litewitness: nothing is witnessed by another key, nor without its checkpoint', async () => {
      const other = formatVerifierKey(parseSignerKey(generateSignerKey(NAME, 'cosignature')).verifier);
      equal(levels(run('verify', '--witness', other, '--json')), [[1, 'unverified']]);
      await sluice.stopService();
      rmSync(join(published, 'checkpoint.witnessed'));
      equal(levels(verify()), [[1, 'unverified']]);
    });
  } finally {
    await sluice.close();
  }
};

let server = await startWitness();
try {
  await show('litewitness: does not know a log that nobody told it of', async () => equal(await codeOf(ask(log)), 'unknown_log'));
  control('add-log', '-origin', log.origin);
  await show('litewitness: does not know its key', async () => equal(await codeOf(ask(log)), 'unknown_log'));
  control('add-key', '-origin', log.origin, '-key', formatVerifierKey(log.key.verifier));
  await show('litewitness: holds up no log that is new', async () => equal(await startWith(log.fork(0)), 'none'));

  const published: string[] = [];
  const problems: string[] = [];
  const witnessing = new Witnessing({
    witnesses: [witnessOf(log)],
    quorum: 1,
    newest: async () => log.checkpoint(),
    publish: async (note) => void published.push(note),
    intervalMs: 50,
    firstWaitMs: 50,
    onProblem: (error) => problems.push(error instanceof WitnessError ? error.code : String(error)),
  });
  const witnessed = async (size: number): Promise<void> => {
    for (const deadline = Date.now() + 10_000; witnessing.progress.witnessed < size; await sleep(20))
      if (Date.now() > deadline) throw new Error(`${witnessing.progress.witnessed} leaves are witnessed, not ${size}`);
  };
  await show('litewitness: cosigns the log, and what it cosigned verifies', async () => {
    await witnessing.round();
    const { size, verified } = openCheckpoint(published.at(-1) ?? '', log.origin, [key]);
    equal([size, verified.length], [3, 1]);
  });
  await show('litewitness: cosigns the log as it grows past tiles', async () => {
    witnessing.start();
    for (const count of [1, 60, 300]) {
      log.add(...Array.from({ length: count }, (_, n) => `${count}.${n}`));
      await witnessed(log.leaves.length);
    }
  });
  await show('litewitness: away, the log goes on; back, it is witnessed again', async () => {
    await end(server);
    log.add('while it was away');
    while (!problems.includes('unavailable')) await sleep(20);
    server = await startWitness();
    await witnessed(log.leaves.length);
  });
  // Who asks next is to be the only one: a question that another overtakes is answered with another number.
  await witnessing.close();
  await show('litewitness: restarted, it still knows where the log was', async () => {
    await end(server);
    server = await startWitness();
    const fresh = witnessOf(log);
    log.add('after a restart');
    await ask(log, fresh);
    equal(fresh.size, log.leaves.length);
  });
  await show('litewitness: refuses a fork', async () => {
    const fork = log.fork(100).add(...Array.from({ length: 400 }, (_, n) => `rewritten ${n}`));
    equal(await codeOf(ask(fork)), 'forked');
    const sameSize = log.fork(log.leaves.length - 1).add('rewritten');
    equal(await codeOf(ask(sameSize)), 'forked');
  });
  await show('litewitness: has cosigned more than a log that was rolled back', async () =>
    equal(await codeOf(ask(log.fork(200))), 'ahead'),
  );
  await show('litewitness: a service does not start with a log that was rolled back, that is gone, or that is another', async () => {
    const other = log.fork(100).add(...Array.from({ length: 400 }, (_, n) => `rewritten ${n}`));
    equal(await Promise.all([log.fork(200), log.fork(0), other, log].map(startWith)), ['rolled_back', 'rolled_back', 'forked', 'none']);
  });
  await show('litewitness: cosigns the honest log on', async () => {
    log.add('on');
    ok((await ask(log)).length > 0);
  });
  await verifyGateway();
} finally {
  call.close();
  await end(server);
  await end(agent);
  rmSync(directory, { recursive: true, force: true });
}
process.exitCode = outcome();
