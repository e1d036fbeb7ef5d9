import { Client, credentials, Metadata, Server, ServerCredentials, status } from '@grpc/grpc-js';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { SimulatedFileSystem } from '../journal/simulated_file_system.ts';
import { decodeEmitResponse, encodeEmitRequest, encodeEvent } from './event.ts';
import { closedBody, type TapBody } from './schema.ts';
import { type TapService, type TapServiceOptions, tapService } from './server.ts';
import { openSink, type Sink } from './sink.ts';
import { eventsIn, testStore } from './store.fixture.ts';

const DIR = '/tap';
const A = 'a'.repeat(32);
const B = 'b'.repeat(32);

const closed: TapBody = closedBody('complete');
const eventBytes = (emitter: string, sequence: number, body: TapBody = closed): Buffer =>
  Buffer.from(encodeEvent({ emitter, sequence, timeUnixNanos: 1n, session: `s${sequence}`, target: '', truncated: [], body }));

let files: SimulatedFileSystem;
let sink: Sink;
let server: Server;
let service: TapService;
let client: Client;

const start = async (options: TapServiceOptions = {}, port = 0): Promise<number> => {
  sink = await openSink({ ...testStore(DIR, { files, retryMs: 5 }) });
  service = tapService(sink, options);
  server = new Server();
  server.addService(service.definition, service.implementation);
  return new Promise((resolve, reject) => {
    server.bindAsync(`127.0.0.1:${port}`, ServerCredentials.createInsecure(), (error, bound) => (error ? reject(error) : resolve(bound)));
  });
};

beforeEach(async () => {
  files = new SimulatedFileSystem();
  client = new Client(`127.0.0.1:${await start()}`, credentials.createInsecure());
});
afterEach(async () => {
  client.close();
  server.forceShutdown();
  await sink.close();
});

interface Emit {
  hello(emitter: string, firstSequence?: number): void;
  events(emitter: string, from: number, to: number): void;
  raw(bytes: Buffer): void;
  end(): void;
  cancel(): void;
  readonly acknowledged: number;
  readonly ended: Promise<{ code: status; details: string }>;
}

const emit = (): Emit => {
  const call = client.makeBidiStreamRequest('/sluice.tap.v1.Tap/Emit', (bytes: Buffer) => bytes, decodeEmitResponse, new Metadata());
  let acknowledged = -1;
  call.on('data', (sequence: number) => {
    acknowledged = sequence;
  });
  call.on('error', () => {});
  return {
    hello: (emitter, firstSequence = 1) => call.write(encodeEmitRequest({ kind: 'hello', emitter, software: 'test', firstSequence })),
    events: (emitter, from, to) => {
      for (let sequence = from; sequence <= to; sequence += 1)
        call.write(encodeEmitRequest({ kind: 'events', events: [eventBytes(emitter, sequence)] }));
    },
    raw: (bytes) => call.write(bytes),
    end: () => call.end(),
    cancel: () => call.cancel(),
    get acknowledged() {
      return acknowledged;
    },
    ended: new Promise((resolve) => {
      call.on('status', resolve);
    }),
  };
};

/** The sequences of an emitter as they stand in the record. */
const recorded = async (emitter: string): Promise<number[]> =>
  (await eventsIn(DIR, files.copy())).flatMap((event) => (event.emitter === emitter ? [event.sequence] : []));

const upTo = (last: number): number[] => Array.from({ length: last }, (_, i) => i + 1);

describe('the tap over gRPC', () => {
  it('acknowledges what is durable and ends well when the emitter has said all', async () => {
    const stream = emit();
    stream.hello(A);
    stream.events(A, 1, 500);
    stream.end();
    expect(await stream.ended).toMatchObject({ code: status.OK });
    expect(stream.acknowledged).toBe(500);
    expect(sink.metrics.openStreams).toBe(0);
    expect(await recorded(A)).toEqual(upTo(500));
  });

  it.each([
    ['an event before the hello', (stream: Emit) => stream.events(A, 1, 1), status.INVALID_ARGUMENT, /before the hello/],
    ['a second hello', (stream: Emit) => [stream.hello(A), stream.hello(A)], status.INVALID_ARGUMENT, /second hello/],
    ['bytes that are nothing', (stream: Emit) => [stream.hello(A), stream.raw(Buffer.from('junk'))], status.INVALID_ARGUMENT, /malformed/],
    ['an empty message', (stream: Emit) => stream.raw(Buffer.alloc(0)), status.INVALID_ARGUMENT, /neither/],
    ['an emitter that is none', (stream: Emit) => stream.hello('root'), status.INVALID_ARGUMENT, /hexadecimal/],
    ['events of another emitter', (stream: Emit) => [stream.hello(A), stream.events(B, 1, 1)], status.INVALID_ARGUMENT, /another emitter/],
    ['a gap', (stream: Emit) => [stream.hello(A), stream.events(A, 2, 2)], status.OUT_OF_RANGE, /event 2 after event 0/],
    ["the service's own emitter", (stream: Emit) => stream.hello(sink.emitter), status.INVALID_ARGUMENT, /own/],
  ])('ends a stream that sends %s, says why, counts it, and harms no other', async (_, send, code, details) => {
    const good = emit();
    good.hello(B);
    good.events(B, 1, 3);
    const bad = emit();
    send(bad);
    expect(await bad.ended).toMatchObject({ code, details: expect.stringMatching(details) });
    expect(Object.values(service.refused)).toEqual([1]);
    good.events(B, 4, 6);
    good.end();
    expect(await good.ended).toMatchObject({ code: status.OK });
    expect(good.acknowledged).toBe(6);
  });

  it('answers a hello at once, with nothing to acknowledge too', async () => {
    const stream = emit();
    stream.hello(A);
    await expect.poll(() => stream.acknowledged).toBe(0);
    stream.cancel();
  });

  it('keeps each event once when an emitter reconnects to a restarted service and sends again', async () => {
    const port = Number(client.getChannel().getTarget().split(':').at(-1));
    const first = emit();
    first.hello(A);
    first.events(A, 1, 50);
    await expect.poll(() => first.acknowledged).toBe(50);
    first.events(A, 51, 80);
    await new Promise((resolve) => setTimeout(resolve, 2));
    server.forceShutdown();
    expect((await first.ended).code).not.toBe(status.OK);
    files = files.afterKill();
    await sink.close();
    await start({}, port);
    // Everything that was not acknowledged comes again, and more.
    const attempt = async (): Promise<Emit> => {
      const stream = emit();
      stream.hello(A, first.acknowledged + 1);
      stream.events(A, first.acknowledged + 1, 120);
      stream.end();
      return (await stream.ended).code === status.UNAVAILABLE ? attempt() : stream;
    };
    expect((await attempt()).acknowledged).toBe(120);
    expect(await recorded(A)).toEqual(upTo(120));
  });

  it('ends every stream when the record fails, and takes up again when it is well', async () => {
    const stream = emit();
    stream.hello(A);
    stream.events(A, 1, 2);
    await expect.poll(() => stream.acknowledged).toBe(2);
    let full = true;
    files.fault = ({ name }) => (full && (name === 'write' || name === 'create') ? { code: 'ENOSPC' } : undefined);
    stream.events(A, 3, 3);
    expect(await stream.ended).toMatchObject({ code: status.UNAVAILABLE, details: expect.stringContaining('full') });
    const refused = emit();
    refused.hello(A, 3);
    expect(await refused.ended).toMatchObject({ code: status.UNAVAILABLE });
    full = false;
    await expect.poll(() => sink.healthy.ok).toBe(true);
    const again = emit();
    again.hello(A, 3);
    again.events(A, 3, 4);
    again.end();
    expect((await again.ended).code).toBe(status.OK);
    expect(await recorded(A)).toEqual(upTo(4));
  });

  it('stops reading a stream whose events wait for a slow disk, and loses none', async () => {
    client.close();
    server.forceShutdown();
    await sink.close();
    client = new Client(`127.0.0.1:${await start({ maxWaitingBytes: 20_000 })}`, credentials.createInsecure());
    const stream = emit();
    stream.hello(A);
    let release = (): void => {};
    files.gate = new Promise((resolve) => {
      release = resolve;
    });
    const chunk = (sequence: number): Buffer =>
      eventBytes(A, sequence, {
        kind: 'payload_chunk',
        direction: 'response',
        offset: 0,
        data: Buffer.alloc(10_000),
        last: false,
        truncated: false,
        contentType: '',
        contentEncoding: '',
        reason: '',
      });
    const total = 150;
    for (let sequence = 1; sequence <= total; sequence += 1) stream.raw(encodeEmitRequest({ kind: 'events', events: [chunk(sequence)] }));
    stream.end();
    await expect.poll(() => sink.metrics.waitingBytes).toBeGreaterThan(20_000);
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(sink.metrics.waitingBytes).toBeLessThan(20_000 + 2 * 10_100);
    files.gate = undefined;
    release();
    expect((await stream.ended).code).toBe(status.OK);
    expect(stream.acknowledged).toBe(total);
    expect(await recorded(A)).toEqual(upTo(total));
  });

  it('refuses more streams than it serves', async () => {
    client.close();
    server.forceShutdown();
    await sink.close();
    client = new Client(`127.0.0.1:${await start({ maxStreams: 1 })}`, credentials.createInsecure());
    const first = emit();
    first.hello(A);
    first.events(A, 1, 1);
    await expect.poll(() => first.acknowledged).toBe(1);
    const second = emit();
    second.hello(B);
    expect(await second.ended).toMatchObject({ code: status.RESOURCE_EXHAUSTED });
    first.cancel();
    await expect.poll(() => sink.metrics.openStreams).toBe(0);
    const third = emit();
    third.hello(B);
    third.events(B, 1, 1);
    await expect.poll(() => third.acknowledged).toBe(1);
  });

  it('takes an emitter over from a stream that has died without a word', async () => {
    const dead = emit();
    dead.hello(A);
    dead.events(A, 1, 1);
    await expect.poll(() => dead.acknowledged).toBe(1);
    const next = emit();
    next.hello(A, 2);
    expect(await dead.ended).toMatchObject({ code: status.ABORTED });
    next.events(A, 2, 2);
    await expect.poll(() => next.acknowledged).toBe(2);
    expect(sink.metrics.openStreams).toBe(1);
    next.cancel();
    await expect.poll(() => sink.metrics.openStreams).toBe(0);
  });
});
