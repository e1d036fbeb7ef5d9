/** A log that is written as fast as it goes, to be killed: `node killed.fixture.ts DIR`. Writes the size that is durable, a line each time, ending in a full stop. */
import { writeSync } from 'node:fs';
import { join } from 'node:path';
import { subject, testLog } from './log.fixture.ts';

const directory = process.argv[2] as string;
const log = await testLog({ directory, publishedIn: join(directory, 'log'), publishMs: 3, journal: { segmentBytes: 40_000 } });
for (;;) {
  const from = log.size;
  for (let i = from; i < from + 1 + (from % 90); i += 1)
    log.stage(subject(i + 1, `ses_${i % 5}`, i % 4 === 0 ? 17 : 11), Buffer.from(`event ${i}`));
  await log.settled();
  writeSync(1, `${log.size}.\n`);
}
