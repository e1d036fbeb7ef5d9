/**
 * The export against what others wrote: `export.ts ocsf PYTHON`, `recorded PYTHON CONFIG` (what a gateway has recorded), `opensearch JARS`, `loki BIN`, `otlp BIN`, `rsyslog`, `prometheus ADMIN_SOCKET`. Starts what it
 * names, stops it while events come, starts it again, and says `ok - …` or `not ok - …` for each behaviour.
 */

import { deepStrictEqual as equal, ok } from 'node:assert';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, request } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';
import fc from 'fast-check';
import { anyEvents, databaseSession, everything, heldHttpSession, leavesOf, recalling } from '../../authz-service/export/events.fixture.ts';
import { startExporter } from '../../authz-service/export/exporter.ts';
import { eventId, Formatter, KINDS, type Leaf } from '../../authz-service/export/format.ts';
import { OCSF_VERSION } from '../../authz-service/export/ocsf.ts';
import type { Place } from '../../authz-service/export/places.ts';
import { decodeEvent } from '../../authz-service/tap/event.ts';
import { authority } from '../e2e/certificates.fixture.ts';
import { freePort } from '../free_port.fixture.ts';
import { outcome, show, start } from './server.ts';

const [kind = '', program = '', config = ''] = process.argv.slice(2);
const directory = mkdtempSync(join(tmpdir(), 'sluice-export-'));
const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

const ORIGIN = 'interop/sluice';
const SESSIONS = 60;
/** What stands in the record at last, and which of it is sent. */
const ALL: readonly Leaf[] = (() => {
  const told = Array.from({ length: SESSIONS }, (_, n) => [...heldHttpSession(`ses_h${n}`), ...databaseSession(`ses_d${n}`)]).flat();
  // A minute ago: Loki keeps what is recent where it looks for it.
  const later = BigInt(Date.now() - 60_000) * 1_000_000n - (told[0]?.timeUnixNanos ?? 0n);
  return leavesOf(told.map((event) => ({ ...event, timeUnixNanos: event.timeUnixNanos + later })));
})();
const SENT = [
  'session_opened',
  'request_judged',
  'request_held',
  'hold_answered',
  'response_finished',
  'command_finished',
  'session_closed',
] as const;
const EXPECTED = (() => {
  const formatter = new Formatter({ format: 'ocsf', kinds: SENT, origin: ORIGIN, version: '0' });
  return ALL.flatMap((leaf) => formatter.message(leaf)?.id ?? []);
})();

interface Server {
  start(): Promise<ChildProcess>;
  stop(child: ChildProcess): Promise<void>;
}

const ended = async (child: ChildProcess, signal: NodeJS.Signals): Promise<void> => {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, 'exit');
  child.kill(signal);
  await exit;
};

/** The record grows while the receiver is there, away, and there again. @returns how often each event was told */
async function throughOutages(place: Place, server: Server, read: () => Promise<string[]>): Promise<Map<string, number>> {
  let size = 0;
  let child = await server.start();
  const said: string[] = [];
  const exporter = startExporter({
    destinations: [
      {
        name: 'receiver',
        from: 'beginning',
        onRefused: 'stop',
        timeoutMs: 10_000,
        batch: { events: 40, bytes: 1 << 20, waitMs: 20 },
        retry: { firstMs: 50, mostMs: 500 },
        format: { format: 'ocsf', kinds: SENT },
        place,
      },
    ],
    record: {
      origin: ORIGIN,
      get size() {
        return size;
      },
      async *read(index) {
        yield* ALL.slice(index, size);
      },
      recall: recalling(ALL),
    },
    dir: join(directory, 'cursor'),
    version: '0',
    logger: { warn: (_, text) => said.push(text), error: (fields, text) => said.push(`${text} ${JSON.stringify(fields)}`) },
  });
  try {
    const grow = async (to: number): Promise<void> => {
      for (; size < to; size = Math.min(to, size + 10)) await sleep(15);
    };
    for (const third of [1, 2]) {
      await grow(Math.floor((ALL.length * third) / 3));
      const growing = grow(Math.floor((ALL.length * third) / 3) + 100);
      await server.stop(child);
      await growing;
      await sleep(300);
      ok(exporter.status[0]?.lag, 'events wait while the receiver is away');
      child = await server.start();
    }
    await grow(ALL.length);
    for (const deadline = Date.now() + 60_000; (exporter.status[0]?.lag ?? 1) > 0; await sleep(50))
      if (Date.now() > deadline) throw new Error(`not delivered: ${exporter.status[0]?.failure} ${said.slice(-3)}`);
    const told = new Map<string, number>();
    for (const deadline = Date.now() + 30_000; ; await sleep(300)) {
      told.clear();
      for (const id of await read()) told.set(id, (told.get(id) ?? 0) + 1);
      if (told.size >= EXPECTED.length || Date.now() > deadline) return told;
    }
  } finally {
    await exporter.close();
    await ended(child, 'SIGKILL');
  }
}

const missing = (told: ReadonlyMap<string, number>): string[] => EXPECTED.filter((id) => !told.has(id));
const repeats = (told: ReadonlyMap<string, number>): number => [...told.values()].reduce((sum, count) => sum + count - 1, 0);
const json = async (url: string, init?: RequestInit): Promise<unknown> => (await fetch(url, init)).json();

const opensearch = async (): Promise<void> => {
  const [port, home] = [await freePort(), join(directory, 'home')];
  mkdirSync(join(home, 'config'), { recursive: true });
  writeFileSync(
    join(home, 'config/log4j2.properties'),
    'rootLogger.level = error\nappender.c.type = Console\nappender.c.name = c\nrootLogger.appenderRef.c.ref = c\n',
  );
  const args = ['-Xmx320m', '-XX:+UseSerialGC', '-cp', join(program, '*'), here('export/OpenSearch.java'), home, String(port)];
  const at = `http://127.0.0.1:${port}`;
  const server: Server = {
    start: async () => {
      const child = spawn('java', args, { stdio: ['pipe', 'ignore', 'ignore'] });
      for (const deadline = Date.now() + 180_000; ; await sleep(200)) {
        if (
          await fetch(`${at}/_cluster/health?wait_for_status=yellow&timeout=1s`).then(
            (answer) => answer.ok,
            () => false,
          )
        )
          return child;
        if (child.exitCode !== null || Date.now() > deadline) throw new Error('OpenSearch does not answer');
      }
    },
    // At once: what it had not written is not taken.
    stop: (child) => ended(child, 'SIGKILL'),
  };
  await show('OpenSearch, killed twice, has every event once, under its id, as it was sent', async () => {
    const told = await throughOutages({ type: 'elastic', url: at, index: 'sluice', headers: {}, tls: {}, gzip: true }, server, async () => {
      await fetch(`${at}/sluice/_refresh`, { method: 'POST' });
      const found = (await json(`${at}/sluice/_search?size=10000&_source=metadata.uid,class_uid,@timestamp`)) as {
        hits: { hits: { _id: string; _source: { metadata: { uid: string } } }[] };
      };
      return found.hits.hits.map(({ _id, _source }) => {
        equal(_source.metadata.uid, _id);
        return _id;
      });
    });
    equal(missing(told).slice(0, 9), []);
    equal(repeats(told), 0);
  });
};

const loki = async (): Promise<void> => {
  const [port, grpcPort, config] = [await freePort(), await freePort(), join(directory, 'loki.yaml')];
  const at = `http://127.0.0.1:${port}`;
  writeFileSync(
    config,
    JSON.stringify({
      auth_enabled: false,
      server: { http_listen_address: '127.0.0.1', http_listen_port: port, grpc_listen_address: '127.0.0.1', grpc_listen_port: grpcPort },
      common: {
        path_prefix: join(directory, 'loki'),
        instance_addr: '127.0.0.1',
        replication_factor: 1,
        ring: { kvstore: { store: 'inmemory' } },
        storage: { filesystem: { chunks_directory: join(directory, 'loki/chunks'), rules_directory: join(directory, 'loki/rules') } },
      },
      schema_config: {
        configs: [
          { from: '2020-01-01', store: 'tsdb', object_store: 'filesystem', schema: 'v13', index: { prefix: 'index_', period: '24h' } },
        ],
      },
      limits_config: { max_entries_limit_per_query: 20_000 },
      analytics: { reporting_enabled: false },
    }),
  );
  const server: Server = {
    start: async () => {
      const child = await start(program, [`-config.file=${config}`, '-log.level=error'], {}, port);
      for (const deadline = Date.now() + 120_000; !(await fetch(`${at}/ready`)).ok; await sleep(200))
        if (child.exitCode !== null || Date.now() > deadline) throw new Error('Loki does not become ready');
      return child;
    },
    // At once: what it acknowledged is in its write-ahead log.
    stop: (child) => ended(child, 'SIGKILL'),
  };
  await show('Loki, killed twice, has every event once', async () => {
    const place: Place = { type: 'loki', url: at, labels: { service_name: 'sluice' }, tenant: undefined, headers: {}, tls: {}, gzip: true };
    const told = await throughOutages(place, server, async () => {
      const times = ALL.map((leaf) => decodeEvent(leaf.bytes).timeUnixNanos);
      const query = { query: '{service_name="sluice"}', start: `${times[0]}`, end: `${(times.at(-1) ?? 0n) + 1n}`, limit: '20000' };
      const answer = (await json(`${at}/loki/api/v1/query_range?${new URLSearchParams(query)}`)) as {
        data: { result: { stream: { event_id: string }; values: [time: string, line: string][] }[] };
      };
      return answer.data.result.flatMap(({ stream, values }) =>
        values.map(([, line]) => {
          equal((JSON.parse(line) as { metadata: { uid: string } }).metadata.uid, stream.event_id);
          return stream.event_id;
        }),
      );
    });
    equal(missing(told).slice(0, 9), []);
    equal(repeats(told), 0);
  });
};

/** An OpenTelemetry Collector: what it makes of a batch is a line of its file. */
const otlp = async (): Promise<void> => {
  const [port, out, config] = [await freePort(), join(directory, 'logs.json'), join(directory, 'collector.yaml')];
  writeFileSync(
    config,
    JSON.stringify({
      receivers: { otlp: { protocols: { http: { endpoint: `127.0.0.1:${port}` } } } },
      exporters: { file: { path: out, append: true, flush_interval: '100ms' } },
      service: {
        telemetry: { metrics: { level: 'none' }, logs: { level: 'error' } },
        pipelines: { logs: { receivers: ['otlp'], exporters: ['file'] } },
      },
    }),
  );
  const server: Server = {
    start: () => start(program, [`--config=file:${config}`], {}, port),
    // Its file has no journal: what it acknowledged is written when it is told to end, and may be lost when it is killed.
    stop: (child) => ended(child, 'SIGTERM'),
  };
  interface Attributes {
    readonly attributes: readonly { readonly key: string; readonly value: { readonly stringValue?: string } }[];
  }
  interface LogRecord extends Attributes {
    readonly timeUnixNano: string;
    readonly observedTimeUnixNano: string;
    readonly severityNumber: number;
    readonly severityText: string;
    readonly eventName: string;
    readonly body: { readonly stringValue: string };
  }
  interface Batch {
    readonly resourceLogs: readonly {
      readonly resource: Attributes;
      readonly scopeLogs: readonly { readonly scope: { readonly name: string }; readonly logRecords: readonly LogRecord[] }[];
    }[];
  }
  const of = ({ attributes }: Attributes): Record<string, string | undefined> =>
    Object.fromEntries(attributes.map(({ key, value }) => [key, value.stringValue]));
  const formatter = new Formatter({ format: 'ocsf', kinds: SENT, origin: ORIGIN, version: '0' });
  const messages = new Map(ALL.flatMap((leaf) => formatter.message(leaf) ?? []).map((message) => [message.id, message]));
  await show('an OpenTelemetry Collector, stopped twice, has every event, with its fields as they were sent', async () => {
    const place: Place = {
      type: 'otlp',
      url: `http://127.0.0.1:${port}`,
      attributes: { 'deployment.environment': 'interop' },
      headers: {},
      tls: {},
      gzip: true,
    };
    const told = await throughOutages(place, server, async () => {
      const lines = existsSync(out) ? readFileSync(out, 'utf8').split('\n').slice(0, -1) : [];
      return lines.flatMap((line) =>
        (JSON.parse(line) as Batch).resourceLogs.flatMap(({ resource, scopeLogs }) => {
          equal(of(resource), { 'service.name': 'sluice', 'service.version': '0', 'deployment.environment': 'interop' });
          return scopeLogs.flatMap(({ scope, logRecords }) => {
            equal(scope.name, 'sluice.record');
            return logRecords.map((record) => {
              const { 'log.record.uid': id = '', 'event.kind': eventKind } = of(record);
              const sent = messages.get(id);
              equal(
                [record.body.stringValue, record.timeUnixNano, record.eventName, eventKind],
                [sent?.json, String(sent?.unixNanos), `sluice.${sent?.kind}`, sent?.kind],
              );
              ok(record.severityNumber >= 9 && /^(?:INFO2?|WARN|ERROR|FATAL)$/.test(record.severityText), record.severityText);
              return id;
            });
          });
        }),
      );
    });
    equal(missing(told).slice(0, 9), []);
    process.stdout.write(`# ${told.size} events, ${repeats(told)} of them repeated\n`);
  });
};

const rsyslog = async (): Promise<void> => {
  const [port, out, config] = [await freePort(), join(directory, 'out'), join(directory, 'rsyslog.conf')];
  const ca = authority(directory, 'ca');
  const leaf = ca.issue('siem', ['127.0.0.1']);
  writeFileSync(
    config,
    [
      `global(workDirectory="${directory}" maxMessageSize="128k" defaultNetstreamDriver="ossl" defaultNetstreamDriverCAFile="${ca.certificate}" defaultNetstreamDriverCertFile="${leaf.certificate}" defaultNetstreamDriverKeyFile="${leaf.key}")`,
      'module(load="imtcp" streamDriver.name="ossl" streamDriver.mode="1" streamDriver.authMode="anon")',
      `input(type="imtcp" address="127.0.0.1" port="${port}")`,
      'template(name="told" type="string" string="%pri% %timestamp:::date-rfc3339% %hostname% %app-name% %msgid% %structured-data% %msg%\\n")',
      `action(type="omfile" file="${out}" template="told")`,
    ].join('\n'),
  );
  const server: Server = {
    start: async () => {
      const child = spawn('rsyslogd', ['-n', '-f', config, '-i', join(directory, 'pid')], { stdio: ['ignore', 'ignore', 'pipe'] });
      let said = '';
      child.stderr?.on('data', (chunk: Buffer) => (said += chunk.toString()));
      for (const deadline = Date.now() + 30_000; ; await sleep(50)) {
        const listens = await new Promise<boolean>((settle) => {
          const socket = connect(port, '127.0.0.1', () => settle(true)).once('error', () => settle(false));
          socket.once('connect', () => socket.destroy());
        });
        if (listens) return child;
        if (child.exitCode !== null || Date.now() > deadline) throw new Error(`rsyslogd does not listen: ${said}`);
      }
    },
    stop: (child) => ended(child, 'SIGTERM'),
  };
  await show('rsyslog, over TLS with octet counting, stopped twice, has every event, whole', async () => {
    const place: Place = { type: 'syslog', host: '127.0.0.1', port, tls: { ca: ca.certificate }, facility: 13, hostname: 'gw.example' };
    const told = await throughOutages(place, server, async () =>
      (existsSync(out) ? readFileSync(out, 'utf8').split('\n') : []).flatMap((line) => {
        const [, id, text = ''] =
          /^1\d\d \S+ gw\.example sluice \w+ \[sluice@32473 event_id="([^"]+)" index="\d+"\] +(\{.*)$/.exec(line) ?? [];
        if (id === undefined) return [];
        equal((JSON.parse(text) as { metadata: { uid: string } }).metadata.uid, id);
        return [id];
      }),
    );
    equal(missing(told).slice(0, 9), []);
    process.stdout.write(`# ${told.size} events, ${repeats(told)} of them repeated\n`);
  });
};

/** By `class_uid`, what validates an event by the published schema. */
const publishedSchemas = (): { readonly ajv: Ajv2020; readonly validators: ReadonlyMap<number | undefined, ValidateFunction> } => {
  const classes = [
    'api_activity',
    'datastore_activity',
    'authentication',
    'authorize_session',
    'entity_management',
    'application_lifecycle',
    'detection_finding',
    'base_event',
  ];
  const printed = execFileSync(program, [here('export/schemas.py'), OCSF_VERSION, ...classes], { encoding: 'utf8', maxBuffer: 1 << 26 });
  const schemas = JSON.parse(printed) as { properties: { class_uid: { const?: number; enum?: number[] } }; $id: string }[];
  const ajv = new Ajv2020({ strict: false, allErrors: true, logger: false });
  return {
    ajv,
    validators: new Map(schemas.map((schema, at) => [[6003, 6005, 3002, 3003, 3004, 6002, 2004, 0][at], ajv.compile(schema)])),
  };
};

const ocsf = async (): Promise<void> => {
  const { ajv, validators } = publishedSchemas();
  const formatter = new Formatter({ format: 'ocsf', kinds: KINDS, origin: ORIGIN, version: '0.1.0' });
  const events = [...everything(), { index: 10_000, bytes: Buffer.from([0xff]) }].flatMap((one) => formatter.message(one) ?? []);
  await show(`${events.length} events of every kind are what OCSF ${OCSF_VERSION} publishes, class by class`, async () => {
    const seen = new Set<number>();
    for (const { id, json: text, kind: of } of events) {
      const event = JSON.parse(text) as { class_uid: number };
      const validate = validators.get(event.class_uid);
      ok(validate, `no schema of class ${event.class_uid}`);
      ok(validate(event), `${id}, ${of}: ${ajv.errorsText(validate.errors)}`);
      seen.add(event.class_uid);
    }
    equal([...seen].toSorted(), [...validators.keys()].toSorted());
  });
  await show('so are 3,000 sequences of events with whatever a filter or a policy can have told', async () => {
    fc.assert(
      fc.property(anyEvents, (told) => {
        const formatter = new Formatter({ format: 'ocsf', kinds: KINDS, origin: ORIGIN, version: '0.1.0' });
        for (const leaf of leavesOf(told)) {
          const message = formatter.message(leaf);
          if (!message) continue;
          const event = JSON.parse(message.json) as { class_uid: number };
          const validate = validators.get(event.class_uid);
          ok(validate?.(event), `${message.kind}: ${ajv.errorsText(validate?.errors)} ${message.json}`);
        }
      }),
      { numRuns: 3000 },
    );
  });
  await show('the schemas refuse what is no such event', async () => {
    const event = JSON.parse(events[0]?.json ?? '') as Record<string, unknown> & { class_uid: number };
    const validate = validators.get(event.class_uid);
    for (const wrong of [{ severity_id: 'high' }, { user: undefined }, { unheard_of: 1 }, { type_uid: 1 }])
      ok(validate && !validate(JSON.parse(JSON.stringify({ ...event, ...wrong }))), JSON.stringify(wrong));
  });
};

/** What a gateway has recorded of requests that pass, are denied, and wait for an answer, and of whatever came before, as `sluice export` gives it. */
const recorded = async (): Promise<void> => {
  const { ajv, validators } = publishedSchemas();
  const { GATEWAY = '', TOKEN = '', AUDITOR = '' } = process.env;
  for (const [method, path] of [
    ['GET', '/customers/1'],
    ['PATCH', '/customers/1'],
    ['DELETE', '/orders/5'],
    ['DELETE', '/customers/9'],
  ] as const)
    await fetch(`${GATEWAY}${path}`, { method, headers: { authorization: `Bearer ${TOKEN}` } }).then((response) => response.text());
  const env = { ...process.env, SLUICE_TOKEN: AUDITOR };
  /** As it comes: a run of all clients records hundreds of megabytes. */
  async function* exported(): AsyncGenerator<string> {
    const child = spawn(here('../../sluice'), ['export', '--config', config], { env, stdio: ['ignore', 'pipe', 'inherit'] });
    try {
      yield* createInterface({ input: child.stdout });
    } finally {
      child.kill();
    }
  }
  const hasEnded = async (): Promise<boolean> => {
    for await (const line of exported()) if (line.includes('"event_code":"session_closed"')) return true;
    return false;
  };
  // The end of a session is recorded when its filter has told it.
  for (const deadline = Date.now() + 20_000; !(await hasEnded()) && Date.now() < deadline; ) await sleep(200);
  await show(`what a gateway has recorded is what OCSF ${OCSF_VERSION} publishes`, async () => {
    const seen = new Set<number>();
    let count = 0;
    for await (const line of exported()) {
      count += 1;
      // Of very many statements, which are pgbench's over and over, some.
      if (count > 20_000 && count % 50 > 0 && line.includes('"class_uid":6005')) continue;
      const event = JSON.parse(line) as { class_uid: number };
      const validate = validators.get(event.class_uid);
      ok(validate?.(event), `${ajv.errorsText(validate?.errors)} ${line}`);
      seen.add(event.class_uid);
    }
    for (const wanted of [3002, 3003, 6002, 6003]) ok(seen.has(wanted), `no event of class ${wanted} among ${[...seen]}`);
  });
};

interface Rules {
  readonly data: {
    readonly groups: readonly {
      readonly rules: readonly { readonly name: string; readonly health: string; readonly lastError?: string }[];
    }[];
  };
}

/** A real Prometheus with the alerts of this repository, which scrapes a running service. */
const prometheus = async (): Promise<void> => {
  const envoy = here('../../envoy');
  await show('promtool takes the alerts, and their own tests pass', async () => {
    execFileSync('promtool', ['check', 'rules', join(envoy, 'prometheus/alerts.yaml')]);
    execFileSync('promtool', ['test', 'rules', 'alerts.test.yaml'], { cwd: join(envoy, 'prometheus') });
  });
  // Prometheus speaks to no Unix socket.
  const door = createServer(({ url = '', method = 'GET' }, response) => {
    request({ socketPath: program, path: url, method }, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(response);
    })
      .once('error', () => response.destroy())
      .end();
  }).listen(0, '127.0.0.1');
  await once(door, 'listening');
  const [port, config] = [await freePort(), join(directory, 'prometheus.yaml')];
  writeFileSync(
    config,
    JSON.stringify({
      global: { scrape_interval: '1s', evaluation_interval: '1s' },
      rule_files: [join(envoy, 'prometheus/alerts.yaml')],
      scrape_configs: [{ job_name: 'sluice', static_configs: [{ targets: [`127.0.0.1:${(door.address() as { port: number }).port}`] }] }],
    }),
  );
  const at = `http://127.0.0.1:${port}`;
  const args = [
    `--config.file=${config}`,
    `--storage.tsdb.path=${join(directory, 'tsdb')}`,
    `--web.listen-address=127.0.0.1:${port}`,
    '--log.level=error',
  ];
  const server = await start('prometheus', args, {}, port);
  // It answers before it has read its log, that it cannot serve.
  for (const deadline = Date.now() + 60_000; !(await fetch(`http://127.0.0.1:${port}/-/ready`)).ok; await sleep(100))
    if (Date.now() > deadline) throw new Error('Prometheus does not become ready');
  try {
    const query = async (expr: string): Promise<{ status: string; error?: string; data: { result: { value: [number, string] }[] } }> =>
      (await json(`${at}/api/v1/query?${new URLSearchParams({ query: expr })}`)) as never;
    await show('Prometheus scrapes the service', async () => {
      for (const deadline = Date.now() + 30_000; ; await sleep(300)) {
        if ((await query('up{job="sluice"}')).data.result[0]?.value[1] === '1') break;
        ok(Date.now() < deadline, 'the target is not up');
      }
      ok(Number((await query('sluice_log_events')).data.result[0]?.value[1]) > 0);
    });
    await show('it evaluates every alert, and none fires at a gateway that is well', async () => {
      const of = async () => ((await json(`${at}/api/v1/rules`)) as Rules).data.groups.flatMap(({ rules }) => rules);
      for (const deadline = Date.now() + 30_000; (await of()).some(({ health }) => health === 'unknown'); await sleep(300))
        ok(Date.now() < deadline);
      equal(
        (await of()).filter(({ health }) => health !== 'ok').map(({ name, lastError }) => [name, lastError]),
        [],
      );
      const { data } = (await json(`${at}/api/v1/alerts`)) as { data: { alerts: { state: string; labels: { alertname: string } }[] } };
      equal(
        data.alerts.filter(({ state }) => state === 'firing').map(({ labels }) => labels.alertname),
        [],
      );
    });
    await show('it answers every query of the dashboards', async () => {
      const folder = join(envoy, 'dashboards');
      for (const file of readdirSync(folder).filter((name) => name.endsWith('.json'))) {
        const { panels } = JSON.parse(readFileSync(join(folder, file), 'utf8')) as {
          panels: { title: string; targets: { expr: string }[] }[];
        };
        for (const { title, targets } of panels)
          for (const { expr } of targets) {
            const { status, error } = await query(expr.replaceAll(/\$__\w+/g, '1m').replaceAll(/\$\w+/g, '.*'));
            equal(status, 'success', `${file}, ${title}: ${error}`);
          }
      }
    });
  } finally {
    await ended(server, 'SIGKILL');
    door.close();
    door.closeAllConnections();
  }
};

const KINDS_OF_TEST: Readonly<Record<string, () => Promise<void>>> = { ocsf, recorded, opensearch, loki, otlp, rsyslog, prometheus };
try {
  ok(eventId(ORIGIN, 0) === EXPECTED[0]);
  const run = KINDS_OF_TEST[kind];
  if (!run) throw new Error(`export.ts ${Object.keys(KINDS_OF_TEST).join('|')}`);
  await run().catch((error: Error) => show(`${kind} runs`, () => Promise.reject(error)));
} finally {
  rmSync(directory, { recursive: true, force: true });
}
process.exit(outcome());
