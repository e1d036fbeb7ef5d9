import { describe, expect, test } from 'vitest';
import type { MaskRule } from '../../authz-service/mask/mask.ts';
import { HttpStream } from '../host/http_stream.ts';
import type { Headers } from '../host/pairs.ts';
import { CARD, Filter, recording, request, response, SSN } from '../wasm/http.fixture.ts';
import { ruleOf, vectors } from '../wasm/mask.vectors.ts';
import { Random } from './random.ts';
import { runs } from './runs.ts';

const SEED = Number(process.env.FUZZ_SEED ?? Date.now() % 1_000_000);

const SECRET = '078-05-1120';
const SECRET_CARD = '4111111111111111';
const HEADERS: Headers = [
  ['etag', '"x"'],
  ['content-length', '9'],
  ['x-note', `card ${SECRET_CARD}`],
  ['content-encoding', 'gzip'],
  ['content-range', 'bytes 0-1/9'],
  ['set-cookie', 'a=1'],
  ['x-sluice-x', '1'],
  ['x-odd', '\xff\x80'],
];
const TYPES = [
  'application/json',
  'application/json',
  'application/json',
  'application/x-ndjson',
  'text/event-stream',
  'text/plain',
  'text/csv',
  'image/png',
  '',
  'APPLICATION/JSON; charset="utf-8"',
];

/** A JSON document with secrets where the rules look for them, and nowhere else. */
function document(random: Random, depth = 0): unknown {
  if (depth > 4 || random.chance(0.3)) return random.pick([1, -2.5e3, true, null, 'text', 'é\u2028"\\', `pay ${SECRET_CARD} now`, '']);
  if (random.chance(0.4)) return Array.from({ length: random.below(5) }, () => document(random, depth + 1));
  return Object.fromEntries(
    Array.from({ length: random.below(5) }, (_, i) =>
      random.chance(0.4) ? ['ssn', random.chance(0.7) ? SECRET : [SECRET, { a: SECRET }]] : [`k${i}`, document(random, depth + 1)],
    ),
  );
}

const escaped = (text: string, random: Random): string => (random.chance(0.3) ? text.replaceAll('ssn', '\\u0073sn') : text);

interface Case {
  readonly rules: readonly MaskRule[];
  readonly type: string;
  readonly body: Buffer;
}

function plantedCase(random: Random): Case {
  const type = random.pick(TYPES);
  const text = escaped(JSON.stringify(document(random), null, random.pick([0, 0, 2])), random);
  const body = type.includes('event')
    ? `data: ${text.replaceAll('\n', '\ndata: ')}\n\n`
    : type.includes('ndjson')
      ? `${text.replaceAll('\n', '')}\n`
      : text;
  return {
    rules: random.pick([
      [SSN, CARD],
      [CARD, SSN],
      [SSN, CARD, ruleOf({ path: 'k1' })],
    ]),
    type,
    body: Buffer.from(body),
  };
}

const VECTORS = vectors();

function mutatedCase(random: Random): Case {
  const { rules, contentType, input } = random.pick(VECTORS);
  const body = Buffer.from(input);
  const edits = random.below(4);
  for (let i = 0; i < edits && body.length > 0; i++)
    body[random.below(body.length)] = random.pick([random.below(256), 0x22, 0x5c, 0x7b, 0x7d, 0x2c, 0x0a]);
  return {
    rules,
    type: random.chance(0.9) ? contentType : random.pick(TYPES),
    body: random.chance(0.2) ? body.subarray(random.below(body.length + 1)) : body,
  };
}

/** Drives one exchange in some order of events. `maxResponse`: how much of the response is recorded; below 0, nothing. */
function drive(filter: Filter, { rules, type, body }: Case, session: string, maxResponse: number, random: Random): HttpStream {
  const stream = random.chance(0.03)
    ? HttpStream.open(filter.host, {
        metadata: {
          session,
          target: 'orders',
          plan: Buffer.from(Array.from({ length: random.below(40) }, () => random.below(256))).toString('base64') || 'AA==',
        },
      })
    : filter.open(rules, session, 0, random.chance(0.3), maxResponse < 0 ? undefined : recording(rules, { maxResponse }));
  const more = HEADERS.filter(() => random.chance(0.08));
  stream.requestHeaders(
    request(
      random.pick(['GET', 'HEAD', 'POST', 'CONNECT']),
      HEADERS.filter(() => random.chance(0.2)),
    ),
    random.chance(0.7),
  );
  let began = false;
  for (let at = 0, steps = 0; steps < 400 && !stream.over; steps++) {
    const dice = random.next();
    if (dice < 0.01) stream.reset(random.pick(['downstream_remote_disconnect', 'upstream_reset_after_response_started{x}', '']));
    else if (dice < 0.03)
      stream.requestBody(
        random.chance(0.5) ? body.subarray(0, random.below(body.length + 1)) : Buffer.alloc(random.below(50)),
        random.chance(0.3),
      );
    else if (dice < 0.05) filter.host.advance(random.below(300));
    else if (dice < 0.06 && filter.host.grpcStream) filter.host.grpcClose(filter.host.grpcStream, 14);
    else if (dice < 0.1) filter.sink.deliver();
    else if (stream.upstream.headers === undefined) filter.sink.run(50);
    else if (!began) {
      began = true;
      const end = random.chance(0.03);
      stream.responseHeaders(response(type === '' ? undefined : type, [...more], random.pick([200, 200, 200, 404, 204, 206, 500])), end);
    } else if (at >= body.length && random.chance(0.3)) stream.responseTrailers(HEADERS.filter(() => random.chance(0.2)));
    else {
      const size = random.pick([0, 1, 2, 5, 16, 64, body.length]);
      stream.responseBody(body.subarray(at, at + size), at + size >= body.length && random.chance(0.7));
      at += size;
    }
  }
  stream.reset('downstream_remote_disconnect').finish();
  return stream;
}

describe(`random exchanges, seed ${SEED}`, () => {
  test.each([
    ['with planted secrets', plantedCase, runs(5_000), true],
    ['with mutated bodies', mutatedCase, runs(10_000), false],
  ] as const)('%s: no trap, no secret, every end recorded', (_, make, count, planted) => {
    const random = new Random(SEED);
    const outcomes = new Map<string, number>();
    let filter = new Filter();
    for (let i = 0; i < count; i++) {
      if (i % 500 === 0) filter = new Filter({ queueBytes: random.pick([16_384, 4 << 20]) });
      const session = `s${i}`;
      const maxResponse = random.pick([-1, 0, 50, 100_000]);
      const stream = drive(filter, make(random), session, maxResponse, random);
      const seen = `${JSON.stringify(stream.downstream.headers ?? [])}${stream.body.toString('latin1')}${JSON.stringify(stream.downstream.trailers ?? [])}`;
      const about = `seed ${SEED}, exchange ${i}`;
      expect(stream.leftBehind, about).toBe(0);
      if (planted) expect(seen.includes('05-1120') || seen.includes(SECRET_CARD), about).toBe(false);
      if (stream.upstream.headers === undefined) continue;
      for (let patience = 0; patience < 60 && !filter.sink.of(session).some((event) => event.session_closed); patience++)
        filter.sink.run(50);
      const { outcome } = filter.sink.finished(session);
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
      expect(filter.sink.of(session).filter(({ payload_chunk }) => !payload_chunk).length, about).toBe(3);
      const bodies = filter.sink.recorded(session, 'response');
      const [recorded = { bytes: Buffer.alloc(0), last: false, truncated: false }] = bodies;
      // Of an answer in the target's place nothing is recorded. A plan that is no plan records nothing.
      const got = outcome === 'replaced' || !bodies.length ? Buffer.alloc(0) : stream.body;
      expect(bodies.length, about).toBeLessThanOrEqual(maxResponse < 0 ? 0 : 1);
      if (maxResponse >= 0 && outcome !== 'replaced') expect(bodies.length, about).toBe(stream.body.length > 0 ? 1 : 0);
      expect(recorded.bytes.equals(got.subarray(0, Math.max(0, maxResponse))), about).toBe(true);
      expect(recorded.truncated, about).toBe(bodies.length > 0 && got.length > maxResponse);
      expect(recorded.last, about).toBe(bodies.length > 0 && !recorded.truncated && stream.downstream.ended);
      const request = filter.sink.recorded(session, 'request').map(({ bytes }) => bytes.toString('latin1'));
      if (planted)
        expect(
          request.some((text) => text.includes('05-1120') || text.includes(SECRET_CARD)),
          about,
        ).toBe(false);
      expect(outcome === 'complete', about).toBe(stream.downstream.ended && stream.status !== 502);
      filter.sink.events.splice(0, filter.sink.events.length - 1);
    }
    // The walk reaches every way to end, or it proves nothing.
    for (const outcome of ['complete', 'cut', 'replaced', 'reset']) expect(outcomes.get(outcome), outcome).toBeGreaterThan(count / 200);
  });
});
