/** What a peer may say on a connection of HTTP/2: anything. Seeded, so that a failure can be run again. */
import { setImmediate as turn } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { fieldBlock } from '../../authz-service/http2/hpack.ts';
import {
  END_HEADERS,
  END_STREAM,
  FRAME,
  frame,
  GREETING,
  number,
  Peer,
  REQUEST_FIELDS,
  requestOf,
  setting,
} from '../../authz-service/http2/peer.fixture.ts';
import { Random } from './random.ts';
import { runs } from './runs.ts';

const SEED = Number(process.env.FUZZ_SEED ?? Date.now() % 1_000_000);
const HEAD = fieldBlock([[':status', '200']]);

/** Blocks as clients of nghttp2 send them: indices, entries, and texts in the Huffman code. */
const CODED = ['828684418cf1e3c2e5f23a6ba0ab90f4ff', '828684be5886a8eb10649cbf', '408825a849e95ba97d7f8925a849e95bb8e8b4bf'];

const FRAMES: readonly Buffer[] = [
  requestOf(1, 'one'),
  frame(FRAME.headers, END_HEADERS, 3, Buffer.from(CODED[0] ?? '', 'hex')),
  frame(FRAME.data, 0, 3, Buffer.alloc(300, 'x')),
  frame(FRAME.settings, 0, 0, Buffer.concat([setting(4, 5), setting(5, 20_000)])),
  frame(FRAME.windowUpdate, 0, 3, number(70)),
  frame(FRAME.data, END_STREAM, 3, Buffer.alloc(30, 'y')),
  frame(FRAME.headers, 0, 5, Buffer.from(CODED[1] ?? '', 'hex')),
  frame(FRAME.continuation, END_HEADERS, 5, Buffer.from(CODED[2] ?? '', 'hex')),
  frame(FRAME.ping, 0, 0, Buffer.alloc(8)),
  frame(FRAME.resetStream, 0, 5, number(8)),
  frame(FRAME.headers, END_HEADERS | END_STREAM, 7, REQUEST_FIELDS),
  frame(FRAME.windowUpdate, 0, 0, number(1000)),
  frame(FRAME.goAway, 0, 0, Buffer.alloc(8)),
];

function mutated(bytes: Buffer, random: Random): Buffer {
  const at = random.below(bytes.length);
  const [before, rest] = [bytes.subarray(0, at), bytes.subarray(at)];
  switch (random.below(5)) {
    case 0:
      return Buffer.concat([before, rest.subarray(1 + random.below(20))]);
    case 1:
      return Buffer.concat([before, rest.subarray(0, 1 + random.below(40)), rest]);
    case 2:
      return Buffer.concat([before, Buffer.from([random.below(256)]), rest]);
    default: {
      const copy = Buffer.from(bytes);
      copy[at] = random.chance(0.5) ? random.below(256) : (copy[at] as number) ^ (1 << random.below(8));
      return copy;
    }
  }
}

test(`10,000 broken connections end or go on, and throw nothing (seed ${SEED})`, async () => {
  const random = new Random(SEED);
  let [ended, answered] = [0, 0];
  for (let run = 0; run < runs(10_000); run++) {
    const peer = new Peer({
      maxBodyBytes: 200,
      onRequest: (exchange, body) => {
        if (random.chance(0.8)) exchange.answer(HEAD, Buffer.from(body ?? 'too large'), HEAD);
        else if (random.chance(0.5)) exchange.refuse(HEAD);
        else exchange.onGone(() => {});
      },
    });
    let bytes: Buffer = Buffer.concat([GREETING, ...FRAMES.filter(() => random.chance(0.9))]);
    for (let i = random.below(4); i >= 0; i--) bytes = mutated(bytes, random);
    for (let at = 0; at < bytes.length; ) {
      const size = 1 + random.below(bytes.length);
      peer.say(bytes.subarray(at, at + size));
      at += size;
    }
    await turn();
    await turn();
    if (peer.endedBy !== undefined) ended++;
    if (peer.answers.size > 0) answered++;
    expect(peer.frames.every(({ payload }) => payload.length <= 16_384)).toBe(true);
    peer.connection.destroy();
  }
  // The mutations reach both ends.
  expect(ended).toBeGreaterThan(runs(10_000) / 20);
  expect(answered).toBeGreaterThan(runs(10_000) / 20);
});
