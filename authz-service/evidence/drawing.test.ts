/**
 * What this version draws around its evidence, kept by hash. A page that an earlier version wrote is verified by its evidence alone once the drawing differs: whoever
 * changes what pages show, or how it is told, raises `DRAWING` in page.ts and keeps the new hash here.
 */
import { hash } from 'node:crypto';
import { expect, it } from 'vitest';
import { back } from '../../test/wasm/postgres_wire.fixture.ts';
import { DELETED_NOTICE, goingText } from '../log/going.ts';
import { BODIES, type FieldType, type Kind, type TapBody } from '../tap/schema.ts';
import { LogFixture } from '../verify/log.fixture.ts';
import { collectEvidence, writePage } from './collect.ts';
import { DRAWING, END_MARK, LEAF_MARK } from './page.ts';

const KEPT = { drawing: 4, hash: '3ec6b5160b437cbc86fe147b84a6827a7db64f17da52ae280eb415240eee515b' };

const VALUES: { readonly [Type in FieldType]: (name: string) => unknown } = {
  string: (name) => (name.endsWith('Json') ? '{}' : `<${name}>`),
  strings: (name) => [name, 'group:dba'],
  bytes: () => Buffer.from('{"ssn":"***"}\n<b>'),
  bool: () => true,
  uint32: () => 12_345,
  uint64: () => 12_345_678,
  fixed64: () => 1_790_000_000_000_000_000n,
  direction: () => 'response',
  masked: () => [{ rule: 'customers.<ssn>', count: 3 }],
};
const bodyOf = (kind: Kind, more: object = {}): TapBody => {
  const fields = Object.entries(BODIES[kind].fields as Record<string, FieldType>).map(([name, type]) => [name, VALUES[type](name)]);
  return { kind, ...Object.fromEntries(fields), ...more } as TapBody;
};
const mark = Buffer.concat([Buffer.from('m\0\0\0\0\0\x01\0\x01', 'latin1'), Buffer.from('customers.ssn\0')]);
mark.writeUInt32BE(mark.length - 1, 1);
const rows = Buffer.concat([
  back.columns({ name: 'id' }, { name: '<ssn>' }),
  mark,
  ...Array.from({ length: 600 }, (_, i) => back.row(String(i), i === 1 ? null : '***')),
]);
const payload = (data: Buffer, contentType: string, more: object = {}): TapBody =>
  bodyOf('payload_chunk', { offset: 0, data, contentType, contentEncoding: '', truncated: false, reason: '', ...more });
const drawn = async (write: (log: LogFixture) => LogFixture, without: string[] = [], payloads = true): Promise<string> => {
  const objects = write(new LogFixture(undefined, { kinds: true })).publish();
  for (const key of without) objects.objects.delete(key);
  const pieces: string[] = [];
  const { head, leaves } = await collectEvidence({ objects, session: 'ses_a', keys: ['key'], payloads });
  // What is another each time.
  for await (const piece of writePage({ head: { ...head, checkpoint: 'checkpoint\n' }, leaves })) pieces.push(piece);
  return pieces.join('').replaceAll(new RegExp(`${LEAF_MARK}.*${END_MARK}`, 'g'), '');
};

it('is what it was, or has another number', async () => {
  const kinds = (Object.keys(BODIES) as Kind[]).filter((kind) => kind !== 'session_closed');
  const all = (log: LogFixture): LogFixture => kinds.reduce((to, kind) => to.add('ses_a', bodyOf(kind)), log);
  const pages = [
    await drawn((log) => all(log).end('ses_a')),
    await drawn((log) => all(log).end('ses_a').add('ses_a', bodyOf('hold_answered')).add('ses_a', bodyOf('request_judged'))),
    await drawn((log) => log.add('ses_a', bodyOf('session_opened')).add('ses_a', payload(rows, 'application/vnd.sluice.postgres'))),
    await drawn((log) =>
      log
        .add('ses_a', bodyOf('session_opened'))
        .add('ses_a', payload(Buffer.from('line\n'.repeat(900)), 'text/plain', { last: false, truncated: true, reason: 'the limit' }))
        .add('ses_a', payload(Buffer.from([0xff, 0, 1]), 'application/octet-stream'))
        .end('ses_a', 'cut', { missingEmitter: 'e'.repeat(32), missingFrom: 3, missingTo: 9 }),
    ),
    await drawn(
      (log) => all(log).add('ses_a', bodyOf('session_closed', { outcome: 'complete', events: 0, missingEmitter: '' })),
      ['details/response_bodies/000.p/12'],
    ),
    await drawn((log) => all(log).end('ses_a', 'unknown'), [], false),
    await drawn(
      (log) =>
        log
          .add('ses_a', bodyOf('session_opened'))
          .add('ses_a', payload(rows, 'application/vnd.sluice.postgres'), 'demo', { command: 1 })
          .add(
            '',
            bodyOf('notice', {
              notice: DELETED_NOTICE,
              text: goingText({ detailClass: 'rows', ageMs: 7 * 86_400_000, leaves: [{ from: 0, to: 2 }] }),
            }),
          ),
      ['details/rows/000.p/3'],
    ),
  ];
  for (const words of [
    'not in the record any more',
    'Not on this page, their leaves remaining: 1 event, and nothing records why',
    '1 event of payload, withheld.',
    'left out of this page',
    'LATE: 1 event',
    'missing, as the end says',
    'never told',
    'payload_chunk (rows): deleted when the retention of rows was over',
    'as recorded in leaf 2: 1 of rows older than 7d.',
    'NULL</td>',
  ])
    expect(pages.join('')).toContain(words);
  expect({ drawing: DRAWING, hash: hash('sha256', pages.join('\n')) }).toEqual(KEPT);
});
