import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { NetworkStream } from '../host/network_stream.ts';
import { TapSink } from '../host/tap_sink.ts';
import { type GrpcCall, WasmHost } from '../host/wasm_host.ts';

const WASM = fileURLToPath(new URL('../../build/test-echo.wasm', import.meta.url));
const RUNS = Number(process.env.FUZZ_RUNS ?? 300);

/** What the filter makes of a client's line, and of a target's. */
interface Line {
  readonly letter: string;
  readonly size: number;
}
const text = ({ letter, size }: Line, i: number): string => `${letter}${String(i % 10).repeat(size)}\n`;

const toTargetOf = (line: Line, i: number): string => `${'aj'.includes(line.letter) ? 'ok ' : ''}${text(line, i)}`;

const sizes = fc.oneof(
  { weight: 8, arbitrary: fc.nat(40) },
  { weight: 1, arbitrary: fc.integer({ min: 16_300, max: 16_500 }) },
  fc.nat(400_000),
);
const clientLine = fc.record({ letter: fc.constantFrom('p', 'P', 'p', 'P', 'a', 'A', 'j'), size: sizes });
const targetLine = fc.record({ letter: fc.constantFrom('s', 'd', 'x', 'y', 'i'), size: sizes });
/** What happens next: so many bytes of the client's or the target's, or an answer of the door. */
const step = fc.oneof(
  fc.record({ who: fc.constant('client' as const), bytes: fc.oneof(fc.nat(20), fc.nat(500_000)) }),
  fc.record({ who: fc.constant('target' as const), bytes: fc.oneof(fc.nat(20), fc.nat(500_000)) }),
  fc.record({ who: fc.constant('door' as const), bytes: fc.constant(0) }),
);
const connection = fc.record({
  fromClient: fc.array(clientLine, { maxLength: 30 }),
  fromTarget: fc.array(targetLine, { maxLength: 30 }),
  readBytes: fc.constantFrom(1_000, 16_384, 200_000),
  bufferLimit: fc.constantFrom(1 << 16, 1 << 20),
});

test('whatever comes in whatever pieces, in whatever order, on several connections of one VM: each line passes once, in order, when it may', () => {
  const host = new WasmHost({
    wasm: WASM,
    configuration: JSON.stringify({ target: 'lines', tap_cluster: 'tap', door_cluster: 'door', tap_require: true }),
  });
  const sink = new TapSink(host);
  sink.run(50);
  fc.assert(
    fc.property(
      fc.array(connection, { minLength: 1, maxLength: 3 }),
      fc.array(fc.tuple(fc.nat(2), step), { maxLength: 60 }),
      (connections, steps) => {
        const streams = connections.map(({ fromClient, fromTarget, readBytes, bufferLimit }) => ({
          stream: NetworkStream.open(host, { readBytes, bufferLimit }).clientSends('p\n'),
          client: Buffer.from(fromClient.map(text).join('')),
          target: Buffer.from(fromTarget.map(text).join('')),
          clientAt: 0,
          targetAt: 0,
          fromClient,
          fromTarget,
        }));
        let answered = 0;
        const answer = (call: GrpcCall | undefined): void => {
          if (!call) return;
          answered++;
          host.grpcAnswer(call, Buffer.from('ok'));
        };
        const waiting = (): GrpcCall[] => [...host.grpcCalls.values()].filter(({ method }) => method !== 'Close');
        for (const [which, { who, bytes }] of steps) {
          const at = streams[which % streams.length] as (typeof streams)[number];
          if (who === 'door') answer(waiting()[which % Math.max(1, waiting().length)]);
          else if (who === 'client') {
            at.stream.clientSends(at.client.subarray(at.clientAt, at.clientAt + bytes));
            at.clientAt += bytes;
          } else {
            at.stream.targetSends(at.target.subarray(at.targetAt, at.targetAt + bytes));
            at.targetAt += bytes;
          }
          // Nothing passes that must wait, at any time: the door has been asked for each line that passed, and has answered.
          for (const { stream, fromClient } of streams) {
            const passed = stream.sent.toString().replaceAll('ping\n', '').slice(2);
            const whole = fromClient.map(toTargetOf).join('');
            expect(whole.startsWith(passed)).toBe(true);
          }
          expect(
            streams.reduce((sum, { stream }) => sum + (stream.sent.toString().match(/ok [aj]|(^|\n)A/g)?.length ?? 0), 0),
          ).toBeLessThanOrEqual(answered);
        }
        for (const { stream, client, clientAt } of streams) stream.clientSends(client.subarray(clientAt));
        for (const { stream, target, targetAt } of streams) stream.targetSends(target.subarray(targetAt));
        for (let call = waiting()[0]; call; call = waiting()[0]) answer(call);
        for (const { stream, fromClient, fromTarget } of streams) {
          const toTarget = `p\n${fromClient.map(toTargetOf).join('')}`;
          expect(stream.closed).toBe(false);
          expect(stream.waiting).toBe(0);
          expect(stream.sent.toString().replaceAll('ping\n', '')).toBe(toTarget);
          expect(stream.sent.toString().split('ping\n').length - 1).toBe(fromTarget.filter(({ letter }) => letter === 'i').length);
          const toClient = fromTarget
            .map((line, i) => (line.letter === 's' ? text(line, i).toUpperCase() : line.letter === 'd' ? '' : text(line, i)))
            .join('');
          expect(stream.received.toString()).toBe(toClient);
          stream.reset();
        }
        for (const call of [...host.grpcCalls.values()]) host.grpcAnswer(call, Buffer.alloc(0));
        sink.run(50);
      },
    ),
    { numRuns: RUNS },
  );
  expect(host.memoryBytes).toBeLessThan(128 << 20);
});
