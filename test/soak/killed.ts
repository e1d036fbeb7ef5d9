/**
 * The real service and Envoy under load, killed with SIGKILL at random moments and started again, for five minutes (`--minutes N`), while bodies and events are
 * deleted, leaves pruned, legal holds put on and released, and all of it copied. After each kill the record and its copy verify, both go on from what was
 * remembered of them and from one another, and nothing that a client was answered is missing. The moments come of a seed that is told (`--seed N`). When something
 * did not hold, the state is kept as it was found.
 */
import { execFile } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, writeFileSync } from 'node:fs';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { findEnvoy } from '../../authz-service/envoy/binary.ts';
import { startEnvoy } from '../../authz-service/envoy/process.ts';
import { LogReader } from '../../authz-service/log/reader.ts';
import { localFiles } from '../../authz-service/storage/local_files.ts';
import { decodeEvent, pruningIn } from '../../authz-service/tap/event.ts';
import { kindOf } from '../../authz-service/tap/leaf_kind.ts';
import { readCheckpoint } from '../../authz-service/tlog/checkpoint.ts';
import type { Report } from '../../authz-service/verify/report.ts';
import { Sluice } from '../e2e/sluice.fixture.ts';
import { Random } from '../fuzz/random.ts';
import { type Answered, Load, tickets } from './killed_load.ts';
import { told } from './memory.ts';

const number = (name: string): number | undefined => {
  const at = process.argv.indexOf(name);
  return at < 0 ? undefined : Number(process.argv[at + 1]);
};
const MINUTES = number('--minutes') ?? 5;
const SEED = number('--seed') ?? Date.now() % 1_000_000;
/** Seconds; a minute is the shortest age that a configuration takes. */
const AGES = { payloads: 60, events: 65, leaves: 75 };
/** For what Envoy held back while the service was away to be told and published. */
const PATIENCE_MS = 45_000;
/** In so long the service ends sessions whose end nobody tells. While one of them is open, no leaf behind its beginning is pruned. */
const GRACE_MS = 32_000;
const CLI = fileURLToPath(new URL('../../sluice', import.meta.url));
/** Remarks that deletions, and a log that goes on, make. */
const EXPECTED = [
  /^[\d,]+ events? (?:was|were) (?:there when the notice|deleted of sessions that had a legal hold)/,
  /^that [\d,]+ events? (?:was|were) deleted is told by notices that repeat it/,
  /^\d+ kept checkpoints are of leaves that were pruned since/,
  /^the log went on while it was read/,
];

/** What the record has of a session. */
interface Recorded {
  readonly kinds: Set<string>;
  readonly details: Set<string>;
  readonly response: Buffer[];
}

process.stderr.write(`seed ${SEED}\n`);
const moments = new Random(SEED);
const counts = { rounds: 0, killed_while_starting: 0, envoy_killed: 0 };
let [leaves, deleted, pruned, waits] = [0, 0, 0, ''];

const sluice = await Sluice.start((document, dir) => {
  document.admin.custodians = ['group:legal'];
  document.tap = {
    replicas: [{ type: 'directory', name: 'copy', path: join(dir, 'copy') }],
    retention: { ...Object.fromEntries(Object.entries(AGES).map(([of, seconds]) => [of, `${seconds}s`])), every: '1s' },
  };
}, tickets);
const load = new Load(sluice, new Random(SEED + 1));
const { answered } = load;
const [log, copy] = [join(sluice.dir, 'state/tap/log'), join(sluice.dir, 'copy')];
let fault: string | undefined;
try {
  const until = Date.now() + MINUTES * 60_000;
  do await round();
  while (Date.now() < until);
} catch (error) {
  fault = (error as Error).message;
}
await sluice.stopService('SIGKILL');
const kept = fault === undefined ? undefined : mkdtempSync(join(tmpdir(), 'sluice-killed-'));
if (kept !== undefined) {
  cpSync(sluice.dir, kept, { recursive: true, filter: (path) => !path.endsWith('.sock') });
  writeFileSync(join(kept, 'service.log'), sluice.serviceLog.join(''));
  writeFileSync(join(kept, 'answered.json'), JSON.stringify([...answered.values()]));
}
await load.stop();
await sluice.close();
const at = { leaves, events_deleted: deleted, pruned_below: pruned, pruning_waits_for: waits, load: loadavg() };
told({
  name: 'killed',
  held: fault === undefined,
  ...(fault && { fault, kept }),
  seed: SEED,
  minutes: MINUTES,
  ...counts,
  ...load.counts,
  ...at,
});
process.exit();

/** @throws {Error} when something does not hold */
async function round(): Promise<void> {
  counts.rounds += 1;
  load.change(moments);
  await sleep(moments.below(4_000));
  await kill();
  const all = moments.chance(0.05);
  if (all) await killEnvoy();
  await verified();
  if (all) await restartEnvoy();
  while (moments.chance(0.3)) {
    counts.killed_while_starting += 1;
    const starting = sluice.startService().catch(() => {});
    await sleep(50 + moments.below(3_000));
    await kill();
    await starting;
    await verified();
  }
  const before = [...answered.values()];
  await sluice.startService();
  await complete(before);
  if (all || moments.chance(0.1)) await sleep(GRACE_MS);
  const retention = JSON.parse((await sluice.admin('GET', '/v1/retention', await sluice.approver('olga', ['audit']))).text);
  if (retention.deletes !== 'when due') throw new Error(`retention: ${retention.deletes}, ${retention.suspended}`);
  waits = retention.leaves?.rest_waits_for ?? waits;
  const last = before.findLast((each) => each.told && Date.now() - each.at < (AGES.payloads * 1000) / 2);
  if (last === undefined) return;
  await verify(last.session, '--checkpoint', join(sluice.dir, 'kept-log'));
  await sluice.events(last.session);
}

async function kill(): Promise<void> {
  try {
    process.kill(sluice.servicePid, 0);
  } catch {
    throw new Error(`the service ended by itself: ${sluice.serviceLog.join('').slice(-2_000)}`);
  }
  await sluice.stopService('SIGKILL');
}

async function killEnvoy(): Promise<void> {
  counts.envoy_killed += 1;
  process.kill(sluice.envoy.pid, 'SIGKILL');
  await sluice.envoy.exited;
}

async function restartEnvoy(): Promise<void> {
  for (const each of answered.values()) each.told = false;
  const envoy = findEnvoy();
  if (!envoy.ok) throw new Error(envoy.problem);
  sluice.envoy = await startEnvoy(sluice.config, { bin: envoy.bin, log: (line) => sluice.envoyLog.push(line) });
}

/** The record and its copy, each by itself, from what was remembered of it, and the record from its copy. */
async function verified(): Promise<void> {
  const [own] = await Promise.all([
    verify('--log', log, '--remember', join(sluice.dir, 'kept-log')),
    existsSync(join(copy, 'checkpoint')) ? verify('--log', copy, '--remember', join(sluice.dir, 'kept-copy')) : undefined,
    existsSync(join(copy, 'checkpoint')) ? verify('--log', log, '--checkpoint', join(copy, 'checkpoint')) : undefined,
  ]);
  [leaves, deleted, pruned] = [own.size, own.missing.deleted, own.pruned?.below ?? 0];
}

async function verify(...args: string[]): Promise<Report> {
  const env = { ...process.env, SLUICE_CONFIG: join(sluice.dir, 'sluice.yaml'), NO_COLOR: '1' };
  const { code, out } = await new Promise<{ code: unknown; out: string }>((settle) => {
    execFile(CLI, ['verify', ...args, '--json'], { env, maxBuffer: 1 << 26 }, (error, out, err) =>
      settle({ code: error?.code ?? 0, out: error && out === '' ? err : out }),
    );
  });
  const report: Report | undefined = out.startsWith('{') ? JSON.parse(out) : undefined;
  const remarks = report?.remarks.filter((remark) => !EXPECTED.some((expected) => expected.test(remark))) ?? [];
  if (code === 0 && report !== undefined && remarks.length === 0) return report;
  const faults = report?.faults.map((each) => `${each.code}: ${each.detail}`) ?? [out];
  const missing = report?.complete === false ? [`missing: ${JSON.stringify(report.missing)}`] : [];
  throw new Error(`round ${counts.rounds}: sluice verify ${args.join(' ')}: ${code}: ${[...faults, ...missing, ...remarks].join('; ')}`);
}

/** @throws {Error} when what these were answered does not come to be in the published record */
async function complete(before: readonly Answered[]): Promise<void> {
  for (const deadline = Date.now() + PATIENCE_MS; ; await sleep(300)) {
    const wanting = await recorded(new Set(before.map(({ session }) => session))).then(
      (records) => before.flatMap((each) => lacking(each, records.get(each.session)) ?? []),
      // Files of a log that goes on, and is pruned, may go while they are read.
      (error: Error) => [error.message],
    );
    if (wanting.length === 0) break;
    if (Date.now() > deadline) throw new Error(`round ${counts.rounds}: ${wanting.length} missing: ${wanting.slice(0, 5).join('; ')}`);
  }
  for (const { session, at, held } of before) if (!held && Date.now() - at > AGES.leaves * 1000) answered.delete(session);
}

/** What must be there and is not. Ages count from before what ages began, so that nothing is asked for that may have gone. */
function lacking({ session, at, body, told, held }: Answered, has: Recorded | undefined): string | undefined {
  const isKept = (of: keyof typeof AGES): boolean => held || Date.now() - at < AGES[of] * 1000;
  const wanted = ['session_opened', 'request_judged', ...(told ? ['session_closed'] : [])];
  const without = (there: ReadonlySet<string> | undefined): string[] => wanted.filter((kind) => there?.has(kind) !== true);
  if (isKept('leaves') && without(has?.kinds).length > 0) return `${session}: no leaf of ${without(has?.kinds)}`;
  if (isKept('events') && without(has?.details).length > 0) return `${session}: no event ${without(has?.details)}`;
  if (isKept('payloads') && told && body !== undefined && Buffer.concat(has?.response ?? []).toString() !== body)
    return `${session}: not the response that its client got`;
  return undefined;
}

async function recorded(sessions: ReadonlySet<string>): Promise<Map<string, Recorded>> {
  const reader = new LogReader(localFiles(log), { open: readCheckpoint, told: pruningIn });
  const { size } = (await reader.checkpoint()) ?? { size: 0 };
  const records = new Map<string, Recorded>();
  for await (const { leaf, detail } of reader.read(await reader.minimum(), size, size)) {
    if (!sessions.has(leaf.session)) continue;
    const has = records.get(leaf.session) ?? { kinds: new Set(), details: new Set(), response: [] };
    records.set(leaf.session, has);
    const kind = kindOf(leaf.kind) ?? '';
    has.kinds.add(kind);
    if (detail === undefined) continue;
    has.details.add(kind);
    const { body } = decodeEvent(detail.event);
    if (body.kind === 'payload_chunk' && body.direction === 'response') has.response.push(Buffer.from(body.data));
  }
  return records;
}
