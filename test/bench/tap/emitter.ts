/**
 * The far end of the bench of the tap over gRPC, in a process of its own: `emitter.ts PORT STREAMS WAITING MS`. Each stream sends the events of requests as a filter does, in
 * messages of up to 16 KiB, and keeps so many unacknowledged. Prints one line of JSON.
 */
import { randomBytes } from 'node:crypto';
import { Client, credentials, Metadata } from '@grpc/grpc-js';
import { decodeEmitResponse, encodeEmitRequest, encodeEvent } from '../../../authz-service/tap/event.ts';
import { BODIES } from './bodies.ts';

export interface Emitted {
  readonly events: number;
  readonly seconds: number;
  /** From when an event was sent until its acknowledgement was read. */
  readonly waitedMs: readonly number[];
}

/** As much as a filter of sessions sends at once. */
const MESSAGE_BYTES = 16_384;
/** One of so many events says how long it waited. */
const SAMPLED = 50;
const BODIES_OF_ONE = BODIES.flat();

const emitting = (client: Client, waiting: number, until: number): Promise<{ events: number; waitedMs: number[] }> =>
  new Promise((resolve, reject) => {
    const emitter = randomBytes(16).toString('hex');
    const call = client.makeBidiStreamRequest('/sluice.tap.v1.Tap/Emit', (bytes: Buffer) => bytes, decodeEmitResponse, new Metadata());
    const sampled: { sequence: number; at: number }[] = [];
    const waitedMs: number[] = [];
    let [sent, acknowledged] = [0, 0];
    const next = (): Buffer => {
      const body = BODIES_OF_ONE[sent % BODIES_OF_ONE.length] as (typeof BODIES_OF_ONE)[number];
      const session = `ses_${emitter.slice(0, 8)}_${Math.floor(sent / BODIES_OF_ONE.length)}`;
      sent += 1;
      if (sent % SAMPLED === 0) sampled.push({ sequence: sent, at: performance.now() });
      const timeUnixNanos = BigInt(Date.now()) * 1_000_000n;
      return Buffer.from(encodeEvent({ emitter, sequence: sent, timeUnixNanos, session, target: 'demo', truncated: [], body }));
    };
    const send = (): void => {
      while (sent - acknowledged < waiting && performance.now() < until) {
        const events: Buffer[] = [];
        for (let bytes = 0; bytes < MESSAGE_BYTES && sent - acknowledged < waiting; bytes += events.at(-1)?.length ?? 0)
          events.push(next());
        call.write(encodeEmitRequest({ kind: 'events', events }));
      }
      if (acknowledged === sent) call.end();
    };
    call.on('data', (sequence: number) => {
      acknowledged = sequence;
      const now = performance.now();
      while ((sampled[0]?.sequence ?? Number.POSITIVE_INFINITY) <= sequence) waitedMs.push(now - (sampled.shift() as { at: number }).at);
      send();
    });
    call.on('error', reject);
    call.on('end', () => resolve({ events: acknowledged, waitedMs }));
    call.write(encodeEmitRequest({ kind: 'hello', emitter, software: 'bench', firstSequence: 1 }));
  });

const [port, streams, waiting, ms] = process.argv.slice(2).map(Number) as [number, number, number, number];
const client = new Client(`127.0.0.1:${port}`, credentials.createInsecure());
const started = performance.now();
const each = await Promise.all(Array.from({ length: streams }, () => emitting(client, Math.floor(waiting / streams), started + ms)));
const emitted: Emitted = {
  events: each.reduce((sum, { events }) => sum + events, 0),
  seconds: (performance.now() - started) / 1000,
  waitedMs: each.flatMap(({ waitedMs }) => waitedMs),
};
process.stdout.write(`${JSON.stringify(emitted)}\n`);
client.close();
