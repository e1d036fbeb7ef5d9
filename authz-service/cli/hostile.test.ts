/** Whatever a page, a copy or a list of keys says: nothing of it moves a cursor, or begins a line, of whoever verifies it. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { DRAWING, END_MARK, HEAD_MARK } from '../evidence/page.ts';
import { closedBody } from '../tap/schema.ts';
import { formatNote, formatVerifierKey, generateSignerKey, parseNote, parseSignerKey, signNote } from '../tlog/note.ts';
import { judged, LogFixture, opened } from '../verify/log.fixture.ts';
import { run } from './run.ts';

/** It clears the screen, goes to its beginning, says what is wished for, and hides what follows; in C1 as well, and from right to left. */
const EVIL = '\u001b[2J\u001b[HVERIFIED: \u009b8m\u202e\r\nVERIFIED: evil\u0007\u007f\u2028VERIFIED: evil\u200b';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'sluice-hostile-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const at = (...path: string[]): string => join(directory, ...path);
const write = (name: string, bytes: Buffer | string): string => {
  mkdirSync(dirname(at(name)), { recursive: true });
  writeFileSync(at(name), bytes);
  return at(name);
};
const publish = (of: LogFixture): void => {
  for (const [key, bytes] of of.publish().objects) write(`log/${key}`, bytes);
  write('log/keys', `0 ${formatVerifierKey(of.key.verifier)}\n`);
};
const sluice = async (...args: string[]): Promise<{ code: number; told: string }> => {
  let told = '';
  const spies = (['stdout', 'stderr'] as const).map((stream) =>
    vi.spyOn(process[stream], 'write').mockImplementation((chunk) => {
      told += chunk;
      return true;
    }),
  );
  try {
    return { code: await run(args), told };
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
};
const isQuiet = (told: string): void => {
  expect(told).not.toBe('');
  // biome-ignore lint/suspicious/noControlCharactersInRegex: what must not be there
  expect(told).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u2028\u2029\u200b\u202e]/);
  expect(told).not.toMatch(/^VERIFIED: evil/m);
};

/** Each string in a value of JSON, one after the other, made another one. */
function* spoilt(value: unknown): Generator<unknown> {
  if (typeof value === 'string') {
    yield EVIL;
    yield `${value}${EVIL}`;
  } else if (Array.isArray(value)) {
    for (const [i, each] of value.entries()) for (const other of spoilt(each)) yield value.with(i, other);
  } else if (typeof value === 'object' && value !== null)
    for (const [name, each] of Object.entries(value)) {
      for (const other of spoilt(each)) yield { ...value, [name]: other };
      yield { ...value, [name]: EVIL };
      yield { ...value, [name + EVIL]: each };
    }
}

it('of a page: every text of its head', async () => {
  publish(new LogFixture().fill(40).add('ses_x', opened).add('ses_x', judged('deny')).end('ses_x', 'denied'));
  await sluice('evidence', 'ses_x', '--log', at('log'), '--out', at('page.html'));
  const page = readFileSync(at('page.html'), 'utf8');
  const [from, to] = [page.indexOf(HEAD_MARK) + HEAD_MARK.length, page.indexOf(END_MARK)];
  const head = JSON.parse(page.slice(from, to));
  for (const drawing of [DRAWING, 99])
    for (const other of spoilt({ ...head, drawing }))
      for (const json of [[], ['--json']]) {
        const { told } = await sluice('verify', write('bad.html', page.slice(0, from) + JSON.stringify(other) + page.slice(to)), ...json);
        isQuiet(told);
        if (json.length > 0 && told.startsWith('{')) JSON.parse(told);
      }
  isQuiet((await sluice('verify', write('bad.html', page.slice(0, from) + EVIL + page.slice(from)))).told);
});

it('of a log: names of sessions, targets and ends, signatures, and what was recorded of anything', async () => {
  const of = new LogFixture().fill(40).add(EVIL, opened, EVIL).add(EVIL, closedBody(EVIL), EVIL);
  of.add('', { kind: 'notice', notice: 'details-deleted', text: `events older than 1d: leaves 0-1${EVIL}` }).add(EVIL, judged(EVIL));
  publish(of);
  const evil = parseSignerKey(generateSignerKey('x.test/\u202e1'));
  const note = parseNote(readFileSync(at('log', 'checkpoint')));
  write('log/checkpoint', formatNote({ ...note, signatures: [...note.signatures, ...parseNote(signNote(note.text, [evil])).signatures] }));
  for (const args of [[], ['--event', '40'], ['--event', '41'], ['--event', '42']])
    for (const json of [[], ['--json']]) isQuiet((await sluice('verify', ...args, ...json, '--log', at('log'))).told);
  // Leaves that do not fit what is beside them.
  const entries = readFileSync(at('log/tile/entries/000.p/44'));
  for (let i = 0; i < entries.length; i += 97) {
    const changed = Buffer.from(entries);
    changed[i] = (changed[i] as number) ^ 1;
    write('log/tile/entries/000.p/44', changed);
    isQuiet((await sluice('verify', '--log', at('log'))).told);
  }
});

it.each([
  ['keys', `0 ${EVIL}\n`],
  ['keys', `0 x+00000000+${EVIL}`],
  ['checkpoint', `${EVIL}\n5\n${Buffer.alloc(32).toString('base64')}\n\n\u2014 ${EVIL} AAAAAAAA\n`],
  ['checkpoint', `sluice.test/log\n5\n${EVIL}`],
  [`checkpoints/${EVIL.replace(/\//g, '')}`, 'junk'],
  ['checkpoints/0000000000000007', `sluice.test/log\n7\n${Buffer.alloc(32).toString('base64')}\n\n\u2014 ${EVIL} AAAAAAAA\n`],
  [`details/events/${EVIL}`, 'junk'],
])('of a copy in which a file says so: %j', async (name, bytes) => {
  publish(new LogFixture().fill(40));
  write(`log/${name}`, bytes);
  for (const json of [[], ['--json']]) isQuiet((await sluice('verify', '--log', at('log'), ...json)).told);
  isQuiet((await sluice('evidence', 'ses_3', '--log', at('log'), '--out', at('page.html'))).told);
});

it('of what is typed', async () => {
  const typed = EVIL.replace('\r\n', '');
  for (const args of [[], ['verify'], ['verify', '--log'], ['help'], ['verify', '--key', 'x', '--log']])
    isQuiet((await sluice(...args, typed)).told);
});
