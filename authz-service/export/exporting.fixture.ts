/** A service that only records and exports, to be killed: `node exporting.fixture.ts DIR URL EVENTS` records as many events and exports all that there are. */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { recordParts } from '../record.ts';
import { openSink } from '../tap/sink.ts';
import { present, presentOrGone } from '../tap/store.ts';
import { bodyOf } from './events.fixture.ts';
import { startExporter } from './exporter.ts';

const [dir = '', url = '', events = '0'] = process.argv.slice(2);
const parts = recordParts({ stateDir: dir, tap: { retention: { kinds: {} } } as never });
const sink = await openSink(parts);
const quiet = { warn: () => {}, error: () => {} };
const record = {
  origin: 'killed/sluice',
  get size() {
    return sink.size;
  },
  read: (index: number) => presentOrGone(sink.read(index)),
  recall: (session: string, before: number) => present(sink.recall(session, before)),
};
const exporter = startExporter({
  destinations: [
    {
      name: 'siem',
      from: 'beginning',
      onRefused: 'stop',
      timeoutMs: 2000,
      batch: { events: 7, bytes: 1 << 20, waitMs: 1 },
      retry: { firstMs: 5, mostMs: 20 },
      format: { format: 'ocsf', kinds: ['session_opened', 'session_closed', 'notice'] },
      place: { type: 'webhook', url, headers: {}, tls: {}, gzip: false },
    },
  ],
  record,
  dir: join(dir, 'export'),
  version: '0',
  logger: quiet,
});
for (let n = 0; n < Number(events); n += 1) {
  await sink.append([
    { session: `ses_${process.pid}_${n}`, target: 'demo', body: bodyOf('session_opened', { protocol: 'http', identity: 'corp:agent' }) },
    { session: `ses_${process.pid}_${n}`, target: 'demo', body: bodyOf('session_closed', { outcome: 'complete' }) },
  ]);
  await sleep(1);
}
while ((exporter.status[0]?.next ?? 0) < sink.size) await sleep(10);
process.stdout.write(`size ${sink.size}\n`);
await exporter.close();
await sink.close();
