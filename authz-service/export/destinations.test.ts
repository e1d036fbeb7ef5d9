/** Each kind of place against a real server of this machine: what is sent, and what every answer means. */
import { appendFileSync, mkdtempSync, readFileSync, renameSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import type { ServerOptions } from 'node:https';
import { type AddressInfo, createServer as createTcp, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createServer as createTls } from 'node:tls';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { authority } from '../../test/e2e/certificates.fixture.ts';
import { everything, heldHttpSession, leavesOf } from './events.fixture.ts';
import { Formatter, KINDS, type Message } from './format.ts';
import { openDestination, type Place } from './places.ts';
import { type Receiver, receiver } from './receivers.fixture.ts';
import type { TlsConfig } from './secrets.ts';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'destination-'));
  writeFileSync(join(dir, 'secret'), 's3cret\n');
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const messagesOf = (leaves = leavesOf(heldHttpSession())): Message[] => {
  const formatter = new Formatter({ format: 'ocsf', kinds: KINDS, origin: 'gw/sluice', version: '0.1.0' });
  return leaves.flatMap((leaf) => formatter.message(leaf) ?? []);
};

const never = new AbortController().signal;
const open = (place: Place, state?: Record<string, number>, timeoutMs = 2000) =>
  openDestination(place, { timeoutMs, version: '0.1.0', state });
const web = (at: Receiver) => ({ url: at.url, headers: {}, tls: {}, gzip: false });
const secret = () => ({ file: join(dir, 'secret') });

type HttpType = 'elastic' | 'splunk' | 'loki' | 'otlp' | 'webhook';
const placeOf = (type: HttpType, at: Receiver): Place => {
  const common = web(at);
  switch (type) {
    case 'elastic':
      return { ...common, type, index: 'sluice' };
    case 'splunk':
      return { ...common, type, token: secret(), index: undefined, sourcetype: 'sluice', acknowledge: false };
    case 'loki':
      return { ...common, type, labels: { service_name: 'sluice' }, tenant: undefined };
    case 'otlp':
      return { ...common, type, attributes: {} };
    case 'webhook':
      return { ...common, type };
  }
};
const HTTP_TYPES: readonly HttpType[] = ['elastic', 'splunk', 'loki', 'otlp', 'webhook'];
const SUCCESS: Readonly<Record<HttpType, string>> = {
  elastic: '{"errors":false}',
  splunk: '{"text":"Success","code":0}',
  loki: '',
  otlp: '{}',
  webhook: '',
};

describe.each(HTTP_TYPES)('%s', (type) => {
  const answered = async (status: number, body: string, headers: Record<string, string> = {}, messages = messagesOf()) => {
    await using at = await receiver((_, response) => response.writeHead(status, headers).end(body));
    const destination = open(placeOf(type, at));
    try {
      return await destination.send(messages, never);
    } finally {
      await destination.close();
    }
  };

  it('takes what is answered with its success', async () => {
    expect(await answered(200, SUCCESS[type])).toEqual({ kind: 'taken' });
  });

  it('waits when it is told to, or the receiver has a fault or does not know us', async () => {
    expect(await answered(429, 'slow down', { 'retry-after': '7' })).toMatchObject({ kind: 'away', retryAfterMs: 7000 });
    for (const status of [301, 401, 403, 404, 500, 502, 503, 504])
      expect(await answered(status, 'x'), String(status)).toMatchObject({ kind: 'away' });
  });

  it('counts what is about the content as refused', async () => {
    for (const status of [400, 413, 422])
      expect(await answered(status, 'bad', {}, messagesOf().slice(0, 1)), String(status)).toMatchObject({ kind: 'refused' });
  });

  it('is away when the connection is cut, at whatever point, when there is nobody, and when the answer does not come in time', async () => {
    const faults: ((socket: Socket) => void)[] = [
      (socket) => socket.destroy(),
      (socket) => socket.once('data', () => socket.resetAndDestroy()),
      (socket) => socket.once('data', () => socket.end('HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{"err')),
      (socket) => socket.once('data', () => socket.end('SSH-2.0-OpenSSH\r\n')),
      // Says a byte now and then, and never all of it.
      (socket) =>
        socket.once('data', () => {
          socket.write('HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n');
          const timer = setInterval(() => socket.write('x'), 50);
          socket.once('close', () => clearInterval(timer));
        }),
    ];
    for (const [n, fault] of faults.entries()) {
      await using server = await tcp(fault);
      const destination = open(placeOf(type, { url: `http://127.0.0.1:${server.port}` } as Receiver), undefined, 400);
      const at = performance.now();
      expect(await destination.send(messagesOf(), never), `fault ${n}`).toMatchObject({ kind: 'away' });
      // The slowest of them would take 5 s.
      expect(performance.now() - at).toBeLessThan(4_500);
      await destination.close();
    }
    const nobody = open(placeOf(type, { url: 'http://127.0.0.1:1' } as Receiver));
    expect(await nobody.send(messagesOf(), never)).toMatchObject({ kind: 'away' });
  });

  it('ends at once when it is stopped', async () => {
    await using at = await receiver(() => {});
    const stop = new AbortController();
    const destination = open(placeOf(type, at), undefined, 60_000);
    const sending = destination.send(messagesOf(), stop.signal);
    setTimeout(() => stop.abort(), 50);
    expect(await sending).toMatchObject({ kind: 'away' });
    await destination.close();
  });
});

interface Tcp {
  readonly port: number;
  readonly server: Server;
  [Symbol.asyncDispose](): Promise<void>;
}

async function tcp(
  serve: (socket: Socket) => void,
  make: (serve: (socket: Socket) => void) => Server = (serve) => createTcp({ allowHalfOpen: true }, serve),
  port = 0,
): Promise<Tcp> {
  const sockets = new Set<Socket>();
  const server = make((socket) => {
    socket.on('error', () => {});
    serve(socket);
  });
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.once('close', () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  return {
    port: (server.address() as AddressInfo).port,
    server,
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

describe('what is sent', () => {
  const sent = async (place: (at: Receiver) => Place, answer: string) => {
    await using at = await receiver((_, response) => response.end(answer));
    const destination = open(place(at));
    const messages = messagesOf(everything());
    expect(await destination.send(messages, never)).toEqual({ kind: 'taken' });
    await destination.close();
    return { messages, request: at.received[0] as (typeof at.received)[number] };
  };

  it('to Elasticsearch is created under its id, at its time', async () => {
    const { messages, request } = await sent((at) => ({ ...web(at), type: 'elastic', index: 'sluice' }), SUCCESS.elastic);
    expect(request.path).toMatch(/^\/sluice\/_bulk\?/);
    const lines = request.body
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(lines.filter((_, n) => n % 2 === 0)).toEqual(messages.map(({ id }) => ({ create: { _id: id } })));
    for (const [n, document] of lines.filter((_, at) => at % 2 === 1).entries()) {
      const { '@timestamp': time, ...event } = document;
      expect(event).toEqual(JSON.parse(messages[n]?.json ?? ''));
      expect(Date.parse(time)).toBe(event.time);
    }
  });

  it('to Splunk is an event of its time, with its id as an indexed field', async () => {
    const { messages, request } = await sent(
      (at) => ({ ...web(at), type: 'splunk', token: secret(), index: 'audit', sourcetype: 'ocsf', acknowledge: false }),
      SUCCESS.splunk,
    );
    expect(request).toMatchObject({ path: '/services/collector/event', headers: { authorization: 'Splunk s3cret' } });
    const events = request.body.split('\n').map((line) => JSON.parse(line));
    expect(events).toHaveLength(messages.length);
    expect(events[0]).toMatchObject({ source: 'sluice', sourcetype: 'ocsf', index: 'audit', fields: { event_id: messages[0]?.id } });
    expect(Math.round(events[0].time * 1000)).toBe(events[0].event.time);
  });

  it('to Loki is one stream, at nanoseconds, the id as structured metadata', async () => {
    const { messages, request } = await sent(
      (at) => ({ ...web(at), type: 'loki', labels: { service_name: 'sluice', env: 'prod' }, tenant: 'audit' }),
      '',
    );
    expect(request.headers['x-scope-orgid']).toBe('audit');
    const { streams } = JSON.parse(request.body);
    expect(streams).toHaveLength(1);
    expect(streams[0].stream).toEqual({ service_name: 'sluice', env: 'prod' });
    expect(streams[0].values[0]).toEqual([
      String(messages[0]?.unixNanos),
      messages[0]?.json,
      { event_id: messages[0]?.id, event_kind: 'session_opened' },
    ]);
  });

  it('by OTLP is log records of one resource', async () => {
    const { messages, request } = await sent(
      (at) => ({ ...web(at), type: 'otlp', attributes: { 'deployment.environment.name': 'prod' } }),
      '{}',
    );
    expect(request.path).toBe('/v1/logs');
    const [{ resource, scopeLogs }] = JSON.parse(request.body).resourceLogs;
    expect(resource.attributes).toContainEqual({ key: 'deployment.environment.name', value: { stringValue: 'prod' } });
    const records = scopeLogs[0].logRecords;
    expect(records).toHaveLength(messages.length);
    expect(records[0]).toMatchObject({
      timeUnixNano: String(messages[0]?.unixNanos),
      severityNumber: 9,
      eventName: 'sluice.session_opened',
      attributes: [{ key: 'log.record.uid', value: { stringValue: messages[0]?.id } }, {}],
    });
  });

  it('to a webhook is a line for each, compressed where that is asked, with the header that holds the secret', async () => {
    const { messages, request } = await sent(
      (at) => ({ ...web(at), gzip: true, type: 'webhook', headers: { 'x-key': { prefix: '', source: secret() } } }),
      '',
    );
    expect(request.headers).toMatchObject({
      'content-encoding': 'gzip',
      'x-key': 's3cret',
      'idempotency-key': `${messages[0]?.id}-${messages.at(-1)?.index}`,
    });
    expect(request.body).toBe(messages.map(({ json }) => `${json}\n`).join(''));
  });

  it('is nothing when a secret cannot be had; a rotated one counts at once', async () => {
    await using at = await receiver((_, response) => response.end());
    const file = join(dir, 'rotated');
    const destination = open({ ...web(at), type: 'webhook', headers: { authorization: { prefix: 'Bearer ', source: { file } } } });
    expect(await destination.send(messagesOf(), never)).toMatchObject({
      kind: 'away',
      reason: expect.stringContaining('rotated cannot be read'),
    });
    expect(at.received).toEqual([]);
    writeFileSync(file, 'new\n');
    await new Promise((resolve) => setTimeout(resolve, 250));
    expect(await destination.send(messagesOf(), never)).toEqual({ kind: 'taken' });
    expect(at.received[0]?.headers.authorization).toBe('Bearer new');
    await destination.close();
  });
});

describe('TLS of places that take HTTP', () => {
  let files: string;
  let ca: ReturnType<typeof authority>;
  beforeAll(() => {
    files = mkdtempSync(join(tmpdir(), 'destination-tls-'));
    ca = authority(files, 'ca');
  });
  afterAll(() => rmSync(files, { recursive: true, force: true }));

  /** What comes of sending to a receiver whose certificate is for `name`, and how many requests it got. */
  const sending = async (type: HttpType, name: string, tls: TlsConfig, more: ServerOptions = {}) => {
    const { certificate, key } = ca.issue(`for-${name}`, [name]);
    const secure = { cert: readFileSync(certificate), key: readFileSync(key), ...more };
    await using at = await receiver((_, response) => response.end(SUCCESS[type]), 0, secure);
    const destination = open({ ...placeOf(type, at), tls } as Place);
    const outcome = await destination.send(messagesOf(), never);
    await destination.close();
    return { outcome, requests: at.received.length };
  };
  const refused = (why: RegExp) => ({ outcome: { kind: 'away', reason: expect.stringMatching(why) }, requests: 0 });
  const taken = { outcome: { kind: 'taken' }, requests: 1 };

  it.each(HTTP_TYPES)('%s: a CA that is not known is refused, and so is a wrong name; an own CA is taken', async (type) => {
    expect(await sending(type, '127.0.0.1', {})).toEqual(refused(/certificate/));
    expect(await sending(type, 'siem.example', { ca: ca.certificate })).toEqual(refused(/altnames/));
    expect(await sending(type, '127.0.0.1', { ca: ca.certificate })).toEqual(taken);
    expect(await sending(type, 'siem.example', { ca: ca.certificate, serverName: 'siem.example' })).toEqual(taken);
    const other = authority(dir, 'other');
    expect(await sending(type, '127.0.0.1', { ca: other.certificate })).toEqual(refused(/certificate/));
  });

  it('shows a certificate of its own to who asks for one', async () => {
    const asks = { requestCert: true, rejectUnauthorized: true, ca: readFileSync(ca.certificate) };
    const { certificate, key } = ca.issue('gateway', ['gateway.example']);
    expect(await sending('webhook', '127.0.0.1', { ca: ca.certificate, certificate, key }, asks)).toEqual(taken);
    expect(await sending('webhook', '127.0.0.1', { ca: ca.certificate }, asks)).toMatchObject({ outcome: { kind: 'away' }, requests: 0 });
  });
});

describe('what a receiver says of single events', () => {
  const outcome = async (type: HttpType, body: string, status = 200) => {
    await using at = await receiver((_, response) => response.writeHead(status).end(body));
    const destination = open(placeOf(type, at));
    const said = await destination.send(messagesOf().slice(0, 4), never);
    await destination.close();
    return said;
  };

  it('Elasticsearch: there already, refused, or to come again', async () => {
    const items = [
      { create: { status: 201 } },
      { create: { status: 409, error: { type: 'version_conflict_engine_exception' } } },
      { create: { status: 400, error: { type: 'mapper_parsing_exception', reason: 'no' } } },
      { create: { status: 429, error: { type: 'rejected_execution_exception' } } },
    ];
    expect(await outcome('elastic', JSON.stringify({ errors: true, items }))).toEqual({
      kind: 'partly',
      refused: new Map([[2, '400 mapper_parsing_exception no']]),
      again: new Set([3]),
      reason: '429 rejected_execution_exception',
    });
    expect(await outcome('elastic', JSON.stringify({ errors: true, items: Array(4).fill({ create: { status: 409 } }) }))).toEqual({
      kind: 'taken',
    });
  });

  it.each(['', 'null', '[]', '{"errors":true}', '{"errors":true,"items":[]}', '<html>'])(
    'Elasticsearch: an answer that is none (%j) is no success',
    async (body) => {
      expect(await outcome('elastic', body)).toMatchObject({ kind: 'away' });
    },
  );

  it('Splunk: the number of the event that it refuses', async () => {
    const body = '{"text":"Error in handling indexed fields","code":15,"invalid-event-number":2}';
    expect(await outcome('splunk', body, 400)).toMatchObject({
      kind: 'partly',
      refused: new Map([[2, expect.any(String)]]),
      again: new Set([0, 1, 3]),
    });
    expect(await outcome('splunk', '{"invalid-event-number":9}', 400)).toMatchObject({ kind: 'refused' });
  });

  it('OTLP: that some were rejected, and not which', async () => {
    expect(await outcome('otlp', '{"partialSuccess":{"rejectedLogRecords":"1","errorMessage":"too large"}}')).toMatchObject({
      kind: 'refused',
    });
    expect(await outcome('otlp', '{"partialSuccess":{"rejectedLogRecords":"0","errorMessage":"a warning"}}')).toEqual({ kind: 'taken' });
  });
});

describe('Splunk with acknowledgement', () => {
  const sendTo = async (acks: readonly boolean[], first = '{"text":"Success","code":0,"ackId":4}') => {
    let asked = 0;
    await using at = await receiver(({ path }, response) => {
      if (path === '/services/collector/event') return void response.end(first);
      response.end(JSON.stringify({ acks: { 4: acks[Math.min(asked, acks.length - 1)] } }));
      asked += 1;
    });
    const destination = open(
      { ...web(at), type: 'splunk', token: secret(), index: undefined, sourcetype: 's', acknowledge: true },
      undefined,
      900,
    );
    const said = await destination.send(messagesOf(), never);
    await destination.close();
    return { said, received: at.received };
  };

  it('counts when the indexers have it, asked on the channel that it was sent on', async () => {
    const { said, received } = await sendTo([false, true]);
    expect(said).toEqual({ kind: 'taken' });
    const channel = received[0]?.headers['x-splunk-request-channel'];
    expect(received[1]?.path).toBe(`/services/collector/ack?channel=${channel}`);
    expect(received).toHaveLength(3);
  });

  it('comes again when they do not say so in time, or the token gives no acknowledgements', async () => {
    expect((await sendTo([false])).said).toMatchObject({ kind: 'away' });
    expect((await sendTo([true], '{"text":"Success","code":0}')).said).toMatchObject({
      kind: 'away',
      reason: expect.stringContaining('acknowledgement off'),
    });
  });
});

describe('syslog', () => {
  /** The frames of RFC 6587 3.4.1; throws for anything else. */
  const frames = (bytes: Buffer): string[] => {
    const found: string[] = [];
    for (let at = 0; at < bytes.length; ) {
      const space = bytes.indexOf(0x20, at);
      const length = Number(bytes.toString('latin1', at, space));
      if (!(length > 0) || space + 1 + length > bytes.length) throw new Error('a frame that is none');
      found.push(bytes.toString('utf8', space + 1, space + 1 + length));
      at = space + 1 + length;
    }
    return found;
  };

  const place = (port: number, tls?: Place & { type: 'syslog' } extends { tls: infer T } ? T : never): Place => ({
    type: 'syslog',
    host: '127.0.0.1',
    port,
    tls: tls ?? undefined,
    facility: 13,
    hostname: 'gw.example',
  });

  it('carries each event as a message of RFC 5424, counted in octets, over TLS that is verified', async () => {
    const ca = authority(dir, 'ca');
    const leaf = ca.issue('siem', ['127.0.0.1']);
    const got: Buffer[] = [];
    await using server = await tcp(
      (socket) => {
        socket.on('data', (chunk: Buffer) => got.push(chunk));
        socket.on('end', () => socket.end());
      },
      (serve) =>
        createTls({ cert: readFileSync(leaf.certificate), key: readFileSync(leaf.key), allowHalfOpen: true }, serve) as unknown as Server,
    );
    const messages = messagesOf(everything());
    const destination = open(place(server.port, { ca: ca.certificate }));
    expect(await destination.send(messages, never)).toEqual({ kind: 'taken' });
    expect(await destination.send(messages.slice(0, 1), never)).toEqual({ kind: 'taken' });
    await destination.close();
    const lines = frames(Buffer.concat(got));
    expect(lines).toHaveLength(messages.length + 1);
    const [first = ''] = lines;
    expect(first).toMatch(
      /^<110>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z gw\.example sluice - session_opened \[sluice@32473 event_id="gw\/sluice\/0" index="0"\] \{/,
    );
    expect(JSON.parse(first.slice(first.indexOf('] ') + 2))).toEqual(JSON.parse(messages[0]?.json ?? ''));

    const stranger = open(place(server.port, {}));
    expect(await stranger.send(messages, never)).toMatchObject({ kind: 'away', reason: expect.stringMatching(/certificate/) });
    const misnamed = open(place(server.port, { ca: ca.certificate, serverName: 'siem.example' }));
    expect(await misnamed.send(messages, never)).toMatchObject({ kind: 'away', reason: expect.stringMatching(/altnames/) });
  });

  const slow = (socket: Socket) => {
    socket.on('data', () => {});
    socket.on('end', () => setTimeout(() => socket.end(), 100));
  };

  it('counts a batch when the receiver has closed behind its last byte, and takes the next connection', async () => {
    const server = await tcp(slow);
    const destination = open(place(server.port));
    expect(await destination.send(messagesOf(), never)).toEqual({ kind: 'taken' });
    await server[Symbol.asyncDispose]();
    // The connection that was kept has gone with it.
    expect(await destination.send(messagesOf(), never)).toMatchObject({ kind: 'away' });
    await using again = await tcp(slow, undefined, server.port);
    expect(again.port).toBe(server.port);
    expect(await destination.send(messagesOf(), never)).toEqual({ kind: 'taken' });
    await destination.close();
  });

  it.each<[string, (socket: Socket) => void]>([
    ['closes before it has read', (socket) => void socket.end()],
    ['is not there behind what accepts for it', (socket) => void socket.destroy()],
    ['resets', (socket) => void socket.once('data', () => socket.resetAndDestroy())],
    ['does not close', (socket) => void socket.resume()],
  ])('a receiver that %s has not taken the batch', async (_, serve) => {
    await using server = await tcp(serve);
    const destination = open(place(server.port), undefined, 300);
    expect(await destination.send(messagesOf(everything()), never)).toMatchObject({ kind: 'away' });
    await destination.close();
  });

  it('a receiver that closes because it ends has not taken the batch: nobody takes the next connection', async () => {
    const server: Tcp = await tcp((socket) => {
      socket.resume();
      socket.on('end', () => {
        server.server.close();
        socket.end();
      });
    });
    const destination = open(place(server.port), undefined, 500);
    expect(await destination.send(messagesOf(), never)).toMatchObject({ kind: 'away' });
    await destination.close();
    await server[Symbol.asyncDispose]();
  });
});

describe('a file', () => {
  const at = () => join(dir, 'out', 'events.ndjson');
  const lines = (path = at()): number[] =>
    readFileSync(path, 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line).metadata.sequence);
  const messages = messagesOf();
  const [first, second, third] = [messages.slice(0, 2), messages.slice(2, 4), messages.slice(4, 6)];
  const stateOf = (outcome: object): Record<string, number> => (outcome as { state: Record<string, number> }).state;

  it('has each event once, whatever a crash left behind the cursor', async () => {
    const destination = open({ type: 'file', path: at() });
    const state = stateOf(await destination.send(first, never));
    // Written and not noted: the crash comes before the cursor.
    await destination.send(second, never);
    await destination.close();
    appendFileSync(at(), '{"torn');
    const again = open({ type: 'file', path: at() }, state);
    await again.send(second, never);
    await again.send(third, never);
    await again.close();
    expect(lines()).toEqual([0, 1, 2, 3, 4, 5]);
  });

  it('is begun anew when it was moved away, and what somebody else has put there stays', async () => {
    const destination = open({ type: 'file', path: at() });
    await destination.send(first, never);
    renameSync(at(), `${at()}.1`);
    const state = stateOf(await destination.send(second, never));
    await destination.close();
    expect([lines(`${at()}.1`), lines()]).toEqual([
      [0, 1],
      [2, 3],
    ]);
    // Another file than the one that the cursor knows.
    renameSync(at(), `${at()}.2`);
    writeFileSync(at(), `${JSON.stringify({ metadata: { sequence: -1 } })}\n`);
    const again = open({ type: 'file', path: at() }, state);
    await again.send(third, never);
    await again.close();
    expect(lines()).toEqual([-1, 4, 5]);
  });

  it('that was cut by somebody (copytruncate) goes on at its end', async () => {
    const destination = open({ type: 'file', path: at() });
    const state = stateOf(await destination.send(first, never));
    await destination.close();
    truncateSync(at(), 0);
    const again = open({ type: 'file', path: at() }, state);
    await again.send(second, never);
    await again.close();
    expect(lines()).toEqual([2, 3]);
  });

  it('that cannot be written is a place that is away', async () => {
    writeFileSync(join(dir, 'plain'), '');
    const destination = open({ type: 'file', path: join(dir, 'plain', 'events.ndjson') });
    expect(await destination.send(first, never)).toMatchObject({ kind: 'away' });
  });
});
