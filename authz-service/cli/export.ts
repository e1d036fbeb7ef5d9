/** `sluice export`: the record as lines of JSON, read through the admin API. */
import { once } from 'node:events';
import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { readCursor, writeCursor } from '../export/cursor.ts';
import { DEFAULT_KINDS, FORMATS, type Format, Formatter, KINDS, type Leaf } from '../export/format.ts';
import type { Kind } from '../tap/schema.ts';
import { VERSION } from '../version.ts';
import { type Command, CommandError, flag, type Invocation, text } from './command.ts';
import { connected } from './connected.ts';
import { placeDetails, placeOptions } from './place.ts';

export const exporting: Command = {
  name: 'export',
  usage: '[--format ocsf|json] [--from N] [--follow] …',
  summary: 'the record as lines of JSON, for a SIEM',
  details: [
    ['--format FORMAT', '`ocsf` (default): Open Cybersecurity Schema Framework 1.5; `json`: as the record has them'],
    ['--from N', 'begin at event N of the record, or with `now`; default 0'],
    ['-n, --limit N', 'how many events of the record are read at most'],
    ['--follow', 'go on as the record grows'],
    [
      '--events KINDS',
      'which kinds, with commas between them; default all but payload_chunk, request_forwarded, envoy_access_log and envoy_tap',
    ],
    ['--cursor FILE', 'keep there how far it got, and go on from there'],
    ...placeDetails,
  ],
  options: {
    ...placeOptions,
    format: { type: 'string' },
    from: { type: 'string' },
    limit: { type: 'string', short: 'n' },
    follow: { type: 'boolean' },
    events: { type: 'string' },
    cursor: { type: 'string' },
  },
  takes: [0, 0],
  run,
};

interface Page {
  readonly origin: string;
  readonly size: number;
  readonly events: readonly { readonly index: number; readonly bytes: string }[];
}

const PAGE = 1000;
const FOLLOW_EVERY_MS = 500;

async function run(invocation: Invocation): Promise<number> {
  const { format, kinds, limit, follow, cursorFile } = parse(invocation);
  const client = await connected(invocation);
  const page = async (from: number, most: number): Promise<Page> =>
    (await client.get('/v1/events', { from: String(from), limit: String(most) })) as Page;

  const recall = async (session: string, before: number): Promise<readonly Leaf[]> =>
    ((await client.get('/v1/events', { session, before: String(before) })) as Page).events.map(leaf);

  const { origin, size } = await page(0, 0);
  const start = await startOf(invocation, cursorFile, { origin, size });
  const formatter = new Formatter({ format, kinds, origin, version: VERSION });
  const end = start + limit;
  for (let next = start; next < end; ) {
    const { events } = await page(next, Math.min(PAGE, end - next));
    const lines = (await formatter.messages(events.map(leaf), recall)).map(({ json }) => json);
    if (lines.length > 0 && !process.stdout.write(`${lines.join('\n')}\n`)) await once(process.stdout, 'drain');
    next = (events.at(-1)?.index ?? next - 1) + 1;
    if (cursorFile !== undefined && events.length > 0)
      await writeCursor(cursorFile, { origin, next, floor: Math.min(formatter.floor ?? next, next) });
    if (events.length > 0) continue;
    if (!follow) break;
    await sleep(FOLLOW_EVERY_MS);
  }
  return 0;
}

const leaf = ({ index, bytes }: Page['events'][number]): Leaf => ({ index, bytes: Buffer.from(bytes, 'base64') });

async function startOf(invocation: Invocation, file: string | undefined, { origin, size }: Pick<Page, 'origin' | 'size'>): Promise<number> {
  const from = text(invocation, 'from');
  if (file !== undefined) {
    const found = await readCursor(file);
    if ('damaged' in found) throw new CommandError(found.damaged);
    if (found.cursor && found.cursor.origin !== origin)
      throw new CommandError(`${file} is of the record ${found.cursor.origin}, and this one is ${origin}`);
    if (found.cursor && found.cursor.next > size)
      throw new CommandError(`${file} is ${found.cursor.next} events on, and the record has ${size}: it has lost some`);
    if (found.cursor) return found.cursor.next;
  }
  return from === 'now' ? size : Number(from ?? 0);
}

function parse(invocation: Invocation) {
  const format = text(invocation, 'format') ?? 'ocsf';
  if (!FORMATS.includes(format as Format)) throw new CommandError(`--format is one of ${FORMATS.join(', ')}`, 2);
  const kinds = text(invocation, 'events')?.split(',') ?? DEFAULT_KINDS;
  const unknown = kinds.find((kind) => !KINDS.includes(kind as Kind));
  if (unknown !== undefined) throw new CommandError(`--events: there is no kind '${unknown}'; there are ${KINDS.join(', ')}`, 2);
  const [from, limit] = [text(invocation, 'from'), text(invocation, 'limit')];
  for (const [name, value] of [
    ['from', from === 'now' ? undefined : from],
    ['limit', limit],
  ])
    if (value !== undefined && !/^\d{1,15}$/.test(value)) throw new CommandError(`--${name} is a whole number`, 2);
  const file = text(invocation, 'cursor');
  return {
    format: format as Format,
    kinds: kinds as readonly Kind[],
    limit: limit === undefined ? Number.POSITIVE_INFINITY : Number(limit),
    follow: flag(invocation, 'follow'),
    cursorFile: file === undefined ? undefined : resolve(file),
  };
}
