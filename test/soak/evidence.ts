/**
 * The evidence of a session that recorded more than memory: its page is written, and verified, by `sluice` in processes of their own, whose memory is measured.
 * `--mb N` of payload: 1,000 by default. Takes about three times as much room in the temporary directory.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { openLog } from '../../authz-service/log/log.ts';
import { localFiles } from '../../authz-service/storage/local_files.ts';
import { encodeEvent } from '../../authz-service/tap/event.ts';
import { BODIES, closedBody, type TapBody } from '../../authz-service/tap/schema.ts';
import { formatVerifierKey, generateSignerKey, parseSignerKey } from '../../authz-service/tlog/note.ts';
import { judged, opened } from '../../authz-service/verify/log.fixture.ts';
import { rounded } from '../bench/figures.ts';
import { told } from './memory.ts';

const MOST_MB = 400;
const CHUNK = 60 << 10;
const SESSION = 'ses_long';
const CLI = fileURLToPath(new URL('../../authz-service/cli/main.ts', import.meta.url));
const AT_EXIT =
  'import{writeFileSync}from"node:fs";process.on("exit",()=>writeFileSync(process.env.PEAK,String(process.resourceUsage().maxRSS)))';

const said = process.argv.indexOf('--mb');
const payloadMb = said > 0 ? Number(process.argv[said + 1]) : 1000;

async function write(directory: string): Promise<string> {
  const signer = parseSignerKey(generateSignerKey('soak.example/sluice'));
  const chain = new Map<string, { index: number; position: number }>();
  const log = await openLog({
    directory,
    objects: localFiles(join(directory, 'log')),
    signers: [signer],
    findChain: ({ session }) => chain.get(session),
  });
  let sequence = 0;
  const stage = (session: string, body: TapBody): void => {
    sequence += 1;
    const subject = {
      emitter: 'ab'.repeat(16),
      sequence,
      timeUnixNanos: 1_790_000_000_000_000_000n + BigInt(sequence),
      session,
      target: 'demo',
    };
    log.stage({ kind: BODIES[body.kind].number, own: false, ...subject }, encodeEvent({ ...subject, truncated: [], body }));
  };
  stage(SESSION, opened);
  stage(SESSION, judged('allow'));
  const line = Buffer.from('{"id":12345,"name":"Maya <b>Okafor</b>","ssn":"***-**-****","note":"what the client saw"}\n');
  const data = Buffer.alloc(CHUNK, line);
  const chunks = Math.ceil((payloadMb * 1e6) / CHUNK);
  for (let i = 0; i < chunks; i += 1) {
    const last = i === chunks - 1;
    const type = { contentType: 'application/x-ndjson', contentEncoding: '', reason: '' };
    stage(SESSION, { kind: 'payload_chunk', direction: 'response', offset: i * CHUNK, data, last, truncated: false, ...type });
    if (i % 50 === 0) await log.settled();
  }
  stage(SESSION, closedBody('complete'));
  await log.settled();
  await log.publish();
  await log.close();
  return formatVerifierKey(signer.verifier);
}

function sluice(directory: string, ...args: string[]): { seconds: number; peak_mb: number; ok: boolean } {
  const peak = join(directory, 'peak');
  const started = performance.now();
  const { status, stdout, stderr } = spawnSync(process.execPath, [`--import=data:text/javascript,${AT_EXIT}`, CLI, ...args], {
    env: { ...process.env, PEAK: peak },
    encoding: 'utf8',
  });
  if (status !== 0) process.stderr.write(`${stdout}${stderr}`);
  const seconds = (performance.now() - started) / 1000;
  return { seconds: rounded(seconds), peak_mb: rounded(Number(readFileSync(peak, 'utf8')) / 1000), ok: status === 0 };
}

const place = mkdtempSync(join(tmpdir(), 'sluice-soak-evidence-'));
try {
  const key = await write(place);
  writeFileSync(join(place, 'log', 'keys'), `0 ${key}\n`);
  const page = join(place, 'page.html');
  const small = join(place, 'small.html');
  const log = join(place, 'log');
  const steps = {
    evidence: sluice(place, 'evidence', SESSION, '--log', log, '--out', page),
    verify_page: sluice(place, 'verify', page, '--key', key),
    verify_session: sluice(place, 'verify', SESSION, '--log', log, '--key', key),
    without_payloads: sluice(place, 'evidence', SESSION, '--log', log, '--out', small, '--without-payloads'),
  };
  const held = Object.values(steps).every(({ ok, peak_mb }) => ok && peak_mb < MOST_MB);
  const pages = { page_mb: rounded(statSync(page).size / 1e6), page_without_payloads_mb: rounded(statSync(small).size / 1e6) };
  told({ name: 'evidence', held, payload_mb: payloadMb, most_mb: MOST_MB, ...pages, ...steps });
} finally {
  rmSync(place, { recursive: true });
}
