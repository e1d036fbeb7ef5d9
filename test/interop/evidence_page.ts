/** A page of evidence in a real browser, `evidence_page.ts CHROMIUM`: what is drawn of rows and texts, and that nothing of what others wrote is markup or runs. Says `ok - …` or `not ok - …`. */
import { equal, match, ok } from 'node:assert';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { collectEvidence, writePage } from '../../authz-service/evidence/collect.ts';
import { closedBody, type TapBody } from '../../authz-service/tap/schema.ts';
import { formatVerifierKey } from '../../authz-service/tlog/note.ts';
import { judged, LogFixture, opened } from '../../authz-service/verify/log.fixture.ts';
import { back } from '../wasm/postgres_wire.fixture.ts';
import { outcome, show } from './server.ts';

const [, , chromium = 'chromium'] = process.argv;
const SESSION = 'ses_page';
const EVIL = `</script></td></table><script>document.title="ran"</script><img src=x onerror='document.title="ran"'>`;

const payload = (data: Buffer, contentType: string): TapBody => ({
  kind: 'payload_chunk',
  direction: 'response',
  offset: 0,
  data,
  last: true,
  truncated: false,
  contentType,
  contentEncoding: '',
  reason: '',
});
const mark = Buffer.concat([Buffer.from('m\0\0\0\0\0\x01\0\x01', 'latin1'), Buffer.from(`${EVIL}\0`)]);
mark.writeUInt32BE(mark.length - 1, 1);
const rows = Buffer.concat([
  back.columns({ name: 'id' }, { name: 'ssn' }, { name: EVIL }),
  mark,
  ...Array.from({ length: 600 }, (_, i) => back.row(String(i), '***', i % 2 === 0 ? null : EVIL.slice(0, 40))),
]);

const directory = mkdtempSync(join(tmpdir(), 'sluice-page-'));
try {
  const log = new LogFixture()
    .add(SESSION, opened)
    .add(SESSION, { ...judged('allow'), request: EVIL } as TapBody)
    .add(SESSION, payload(rows.subarray(0, 60_000), 'application/vnd.sluice.postgres'))
    .add(SESSION, payload(Buffer.from(`{"a":1}\n${EVIL}`), 'application/json'))
    .add(SESSION, closedBody('complete'));
  const keys = [formatVerifierKey(log.key.verifier)];
  const page = join(directory, 'page.html');
  let html = '';
  for await (const piece of writePage(await collectEvidence({ objects: log.publish(), session: SESSION, keys, payloads: true })))
    html += piece;
  writeFileSync(page, html);
  const flags = ['--headless', '--no-sandbox', '--disable-gpu', `--user-data-dir=${join(directory, 'profile')}`, '--dump-dom'];
  const dom = execFileSync(chromium, [...flags, pathToFileURL(page).href], {
    encoding: 'utf8',
    maxBuffer: 1 << 28,
    stdio: ['ignore', 'pipe', 'ignore'],
    timeout: 120_000,
  });
  const count = (what: RegExp): number => dom.match(what)?.length ?? 0;

  await show('rows are one table, with the masked column marked, NULL told from texts, and the rest said to be left out', async () => {
    equal(count(/<table class="rows">/g), 1);
    equal(count(/<th class="masked">/g), 1);
    equal(count(/<td class="masked">\*\*\*<\/td>/g), 500);
    equal(count(/<td class="null">NULL<\/td>/g), 250);
    match(dom, /\(the rest of it is not shown here\)/);
  });
  await show('every event is a row of the one table of events, behind its evidence', async () => {
    equal(count(/<script type="application\/json">/g), 5);
    equal(count(/<td class="mono">\d+<\/td>/g), 5);
    match(dom, /<pre>\{"a":1\}\n&lt;\/script&gt;/);
  });
  await show('nothing of what others wrote became markup, and nothing ran', async () => {
    match(dom, /<title>Evidence: ses_page<\/title>/);
    equal(count(/<img/g), 0);
    equal(count(/<script/g), 6);
    ok(!dom.includes('onerror="'));
  });
} finally {
  rmSync(directory, { recursive: true, force: true });
}
process.exitCode = outcome();
