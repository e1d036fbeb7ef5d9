import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { type Config, formatConfigError, type LoadOptions, loadConfig, loadConfigToStart } from './config.ts';
import { withReference } from './reference.ts';

let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'sluice-'));
  mkdirSync(join(dir, 'policies'));
  writeFileSync(join(dir, 'secret'), 'a-secret-of-more-than-thirty-two-characters\n');
  writeFileSync(join(dir, 'empty'), '\n');
  for (const name of ['one', 'two']) {
    execFileSync(
      'openssl',
      [
        'req',
        '-x509',
        '-newkey',
        'ec',
        '-pkeyopt',
        'ec_paramgen_curve:P-256',
        '-nodes',
        '-keyout',
        join(dir, `${name}.key`),
        '-out',
        join(dir, `${name}.crt`),
        '-subj',
        `/CN=${name}`,
      ],
      { stdio: 'pipe' },
    );
  }
});
afterAll(() => rmSync(dir, { recursive: true }));

const MINIMAL = `version: 1
listeners:
  - { name: http, address: 127.0.0.1:8080 }
issuers:
  - { name: corp, issuer: https://login.example.com, audiences: [sluice] }
targets:
  - { name: orders, listener: http, url: http://127.0.0.1:3000 }
policy: { path: policies }
`;

function load(text: string, options: LoadOptions = {}) {
  const file = join(dir, 'sluice.yaml');
  writeFileSync(file, text);
  return loadConfig(file, { env: {}, ...options });
}

/** The errors without the file's directory. */
const errors = (text: string, options?: LoadOptions): string[] => {
  const result = load(text, options);
  return result.ok ? [] : result.errors.map((error) => formatConfigError(error).replaceAll(`${dir}/`, ''));
};

const config = (text: string, options?: LoadOptions): Config => {
  const result = load(text, options);
  return result.ok ? result.config : expect.fail(result.errors.map(formatConfigError).join('\n'));
};

const replaced = (from: string, to: string): string =>
  MINIMAL.includes(from) ? MINIMAL.replace(from, to) : expect.fail(`${from} is not in the minimal file`);
/** The minimal file with more in its one target. */
const target = (more: string): string => replaced('url: http://127.0.0.1:3000', `url: http://127.0.0.1:3000, ${more}`);

describe('what is read', () => {
  test('the smallest file has every default filled in', () => {
    expect(config(MINIMAL)).toMatchObject({
      stateDir: join(dir, 'data'),
      runDir: join(dir, 'data/run'),
      listeners: [{ name: 'http', address: { host: '127.0.0.1', port: 8080 }, tls: undefined, private: false }],
      issuers: [{ name: 'corp', kind: 'oidc', issuer: 'https://login.example.com', audiences: ['sluice'], clockSkewSeconds: 30 }],
      targets: [
        {
          name: 'orders',
          protocol: 'http',
          hosts: ['*'],
          url: { scheme: 'http', host: '127.0.0.1', port: 3000 },
          credential: '',
          credentials: {},
          requestBodyLimitBytes: 1_048_576,
          responseTimeoutMs: 0,
        },
      ],
      policy: { path: join(dir, 'policies'), data: undefined, timeoutMs: 250, workers: 2 },
      approvals: { maxTtlMs: 86_400_000, maxOpen: 10_000, grantTtlMs: 900_000 },
      masking: { key: undefined, patterns: {}, maxTokenBytes: 65_536 },
      tap: {
        require: true,
        queueBytes: 4_194_304,
        lagMs: 1000,
        envoyAccessLog: false,
        record: { maxRequestBytes: 65_536, maxResponseBytes: 262_144, queueBytes: 67_108_864 },
      },
      service: {
        check: { kind: 'socket', path: join(dir, 'data/run/check.sock') },
        tap: { kind: 'socket', path: join(dir, 'data/run/tap.sock') },
      },
      admin: { socket: join(dir, 'data/run/admin.sock'), address: undefined, auditors: [] },
      logging: { level: 'info' },
    });
  });

  test('how much payload is recorded: of all targets, or of each', () => {
    const limits = (written: string) => config(target(written)).targets[0]?.record;
    expect(limits('record: { max_response: 1MiB }')).toEqual({ maxRequestBytes: 65_536, maxResponseBytes: 1_048_576 });
    expect(limits('record: { max_request: 0B }')).toEqual({ maxRequestBytes: 0, maxResponseBytes: 262_144 });
  });

  test('what is recorded of one request leaves room for that of others', () => {
    expect(errors(target('record: { max_response: 16MiB }'))).toEqual([
      expect.stringMatching(/record: what is recorded of one request, 16842752 bytes, has too little room .* at least 4 times as much/s),
    ]);
  });

  test('an absent setting of an issuer stays absent, so that the identity module chooses', () => {
    expect(Object.keys(config(MINIMAL).issuers[0] ?? {}).toSorted()).toEqual(['audiences', 'clockSkewSeconds', 'issuer', 'kind', 'name']);
  });

  test('an issuer in the words of the identity module', () => {
    const [issuer] = config(
      replaced(
        'audiences: [sluice]',
        'audiences: [sluice], jwks_uri: "https://k.example/keys", clock_skew: 1m, claims: { on_behalf_of: act.sub }, keys: { max_stale: 2h }',
      ),
    ).issuers;
    expect(issuer).toMatchObject({
      jwksUri: 'https://k.example/keys',
      clockSkewSeconds: 60,
      claims: { onBehalfOf: 'act.sub' },
      keys: { maxStaleSeconds: 7200 },
    });
  });

  test.each([
    ['{ only: { none: {} } }', 'only'],
    ['{ default: { none: {} }, other: { none: {} } }', 'default'],
    ['{ a: { none: {} }, b: { none: {} } }, credential: b', 'b'],
  ])('the default of the credentials %s is %s', (written, chosen) => {
    expect(config(target(`credentials: ${written}`)).targets[0]?.credential).toBe(chosen);
  });

  test('credentials in the words of the credential module', () => {
    const written =
      '{ default: { bearer: { file: secret } }, basic: { basic: { username: u, password: { env: P } } }, key: { header: { name: X-Api-Key, value: { env: P } } } }';
    expect(config(target(`credentials: ${written}`), { env: { P: 'x' } }).targets[0]?.credentials).toEqual({
      default: { type: 'bearer', secret: { file: join(dir, 'secret') } },
      basic: { type: 'basic', username: 'u', secret: { env: 'P' } },
      key: { type: 'header', name: 'X-Api-Key', secret: { env: 'P' } },
    });
  });

  test.each([
    ['250ms', 250],
    ['1m30s', 90_000],
    ['1.5s', 1_500],
  ])('the duration %s', (written, ms) => expect(config(target(`connect_timeout: ${written}`)).targets[0]?.connectTimeoutMs).toBe(ms));

  test.each([
    ['https://api.example', { scheme: 'https', host: 'api.example', port: 443 }],
    ['http://api.example:8081/', { scheme: 'http', host: 'api.example', port: 8081 }],
    ['http://[::1]:3000', { scheme: 'http', host: '::1', port: 3000 }],
  ])('the URL %s', (url, origin) =>
    expect(config(replaced('url: http://127.0.0.1:3000', `url: "${url}"`)).targets[0]?.url).toEqual(origin),
  );

  test('YAML 1.2: yes, on and 12:30 are text', () => {
    expect(config(target('labels: { a: yes, b: on, c: 12:30 }')).targets[0]?.labels).toEqual({ a: 'yes', b: 'on', c: '12:30' });
  });

  test('a label of a name that objects have of their own is a label like others', () => {
    expect(Object.keys(config(target('labels: { constructor: x, __proto__: y }')).targets[0]?.labels ?? {})).toEqual([
      'constructor',
      '__proto__',
    ]);
  });
});

describe('what is refused, and what is said', () => {
  test.each<[string, string, string]>([
    ['an unknown key', `${MINIMAL}polcy: {}\n`, 'sluice.yaml:9:1: polcy: unknown key `polcy`; did you mean `policy`?'],
    ['an unknown key below', target('labls: {}'), 'sluice.yaml:7:65: targets[0].labls: unknown key `labls`; did you mean `labels`?'],
    [
      'a missing key',
      replaced(', url: http://127.0.0.1:3000', ''),
      'sluice.yaml:7:5: targets[0]: `url` is missing; give `url: …`, a URL: where the target is',
    ],
    ['a key twice', `${MINIMAL}policy: {}\n`, 'sluice.yaml:9:1: Map keys must be unique'],
    ['no YAML', 'version: [1\n', 'sluice.yaml:2:1: Flow sequence in block collection must be sufficiently indented and end with a ]'],
    ['a list', '- 1\n', 'sluice.yaml:1:1: a mapping or list is not a mapping; must have version'],
    ['nothing', '', 'sluice.yaml:1:1: `version` is missing'],
    ['another version', replaced('version: 1', 'version: 2'), 'sluice.yaml:1:10: version: number 2 does not fit; must be 1'],
    ['a number without its unit', target('connect_timeout: 5'), 'must be a duration from 100ms to 5m, with its unit (ms, s, m, h, d)'],
    ['a size out of bounds', target('request_body_limit: 1GiB'), "'1GiB' does not fit; must be a size from 1B to 64MiB"],
    ['an unquoted flag for text', target('labels: { a: true }'), 'targets[0].labels.a: boolean true does not fit'],
    ['a base path', replaced(':3000', ':3000/api'), 'without user, path, query or fragment'],
    ['a user in the URL', replaced('//127.0.0.1:3000', '//u:p@127.0.0.1:3000'), 'without user, path'],
    ['a name in place of an address', replaced('127.0.0.1:8080', 'localhost:8080'), 'must be an IP address and a port'],
    ['port 0', replaced('127.0.0.1:8080', '127.0.0.1:0'), 'a port from 1 to 65535'],
    [
      'clear tokens on a network',
      replaced('127.0.0.1:8080', '0.0.0.0:8080'),
      'tokens would cross the network in clear; give `tls`, a loopback address, or `private: true`',
    ],
    ['a listener that is not there', replaced('listener: http', 'listener: htp'), "there is no listener 'htp'; did you mean 'http'?"],
    [
      "a listener with the name of Envoy's own",
      replaced('name: http', 'name: admin'),
      "listeners[0].name: 'admin' is the name of Envoy's own admin interface; choose another",
    ],
    [
      'a name twice',
      replaced('targets:', "targets:\n  - { name: orders, listener: http, hosts: [a], url: 'http://a' }"),
      "'orders' is the name of targets[0] already",
    ],
    [
      'a host twice',
      replaced('targets:', "targets:\n  - { name: other, listener: http, hosts: ['*'], url: 'http://a' }"),
      "'*' leads to target 'other' already",
    ],
    ['a host twice in other letters', target('hosts: [a.example, A.example]'), "'A.example' leads to target 'orders' already"],
    ['a host with a port', target("hosts: ['a:80']"), 'a host name without port'],
    [
      'a secret in the file',
      target('credentials: { a: { bearer: hunter2 } }'),
      'a secret does not stand in the configuration itself; must be { env: NAME } or { file: PATH }',
    ],
    ['an unset variable', target('credentials: { a: { bearer: { env: NOT_SET } } }'), 'the environment variable NOT_SET is not set'],
    [
      'an empty secret file',
      target('credentials: { a: { bearer: { file: empty } } }'),
      'empty is empty; it must hold at least 1 characters',
    ],
    ['a missing secret file', target('credentials: { a: { bearer: { file: nowhere } } }'), 'nowhere does not exist'],
    [
      'two kinds of credential',
      target('credentials: { a: { none: {}, bearer: { file: secret } } }'),
      '2 keys stand here; must be a mapping with one of bearer, basic, header, entra, none',
    ],
    [
      'an unknown kind of credential',
      target('credentials: { a: { beerer: { file: secret } } }'),
      'unknown key `beerer`; did you mean `bearer`?',
    ],
    [
      'a header that is not to be set',
      target('credentials: { a: { header: { name: Host, value: { file: secret } } } }'),
      'name must not be host',
    ],
    [
      'a credential that is not there',
      target('credential: rw, credentials: { ro: { none: {} } }'),
      "there is no credential 'rw'; did you mean 'ro'?",
    ],
    ['no default of several', target('credentials: { a: { none: {} }, b: { none: {} } }'), 'name it in `credential`: one of a, b'],
    ['TLS for a plain target', target('tls: { ca: x }'), 'the URL is not https'],
    ['an issuer in clear', replaced('https://login', 'http://login'), 'must be an https URL'],
    ['Entra without tenants', replaced('audiences', 'kind: entra, audiences'), 'must name at least one tenant for kind entra'],
    [
      'one issuer twice',
      replaced('issuers:', 'issuers:\n  - { name: a, issuer: https://login.example.com, audiences: [x] }'),
      'is the issuer of issuers[0] already',
    ],
    ['a symmetric algorithm', replaced('audiences', 'algorithms: [HS256], audiences'), "'HS256' does not fit; must be one of RS256"],
    ['a missing policy', replaced('path: policies', 'path: nowhere'), 'policy.path: nowhere does not exist'],
    ['one port for two', `${MINIMAL}admin: { address: 127.0.0.1:8080 }\n`, '127.0.0.1:8080 is taken by listeners[0].address'],
    ['an admin API on a network', `${MINIMAL}admin: { address: 10.0.0.1:9901 }\n`, 'must be a loopback address'],
    ['auditors that are no principals', `${MINIMAL}admin: { auditors: [audit] }\n`, 'must be `group:NAME` or `identity:ID`'],
    [
      'a short key for hashes',
      `${MINIMAL}masking: { key: { env: K } }\n`,
      'the environment variable K is too short; it must hold at least 32 characters',
    ],
    [
      'the service over TCP without TLS',
      `${MINIMAL}service: { check: { address: 127.0.0.1:9443 } }\n`,
      'give `tls: { certificate, key, client_ca }`',
    ],
    [
      'socket and address',
      `${MINIMAL}service: { check: { socket: x, address: 127.0.0.1:9443 } }\n`,
      '`socket` and `address` exclude each other',
    ],
    ['a socket path that the kernel cuts off', `${MINIMAL}state_dir: ${'d'.repeat(100)}\n`, "a Unix socket's path has at most 107"],
    [
      'a key of another certificate',
      replaced('127.0.0.1:8080', '127.0.0.1:8080, tls: { certificate: one.crt, key: two.key }'),
      'is not the key of the certificate',
    ],
    [
      'a certificate that is none',
      replaced('127.0.0.1:8080', '127.0.0.1:8080, tls: { certificate: secret, key: one.key }'),
      'secret holds no certificate',
    ],
  ])('%s', (_, text, said) => {
    const found = errors(text, { env: { K: 'short' } });
    expect(
      found.some((error) => error.includes(said)),
      found.join('\n') || 'nothing was said',
    ).toBe(true);
    for (const error of found) expect(error).toMatch(/^sluice\.yaml:\d+:\d+: /);
  });

  test('all at once, in the order of the file', () => {
    const found = errors(`version: 1
listeners: [{ name: http, address: nowhere }]
issuers: [{ name: Corp, issuer: https://login.example.com, audiences: [] }]
targets: [{ name: orders, listener: web, url: ftp://x, credentials: { a: { bearer: { env: NOPE } } } }]
policy: { path: policies, timeout: never }
`);
    expect(found.map((error) => Number(error.split(':')[1]))).toEqual([2, 3, 3, 4, 4, 4, 5]);
  });

  test('a secret never stands in an error', () => {
    expect(errors(target('credentials: { a: { bearer: { file: secret }, nonsense: 1 } }')).join()).not.toContain('a-secret-of');
  });

  test('a pattern that does not compile', () => {
    const text = `${MINIMAL}masking: { patterns: { id: '(' } }\n`;
    expect(errors(text, { checkPattern: (pattern) => (pattern === '(' ? 'a group is not closed' : null) })).toEqual([
      'sluice.yaml:9:28: masking.patterns.id: a group is not closed; the syntax of patterns is in docs/masking.md',
    ]);
  });

  test('a file that is not there', () => {
    const result = loadConfig(join(dir, 'nowhere.yaml'));
    expect(result.ok ? '' : result.errors.map(formatConfigError).join()).toContain(
      'nowhere.yaml: cannot be read: ENOENT; must be a YAML file',
    );
  });

  test('aliases that multiply are refused, not followed', () => {
    const bomb = [
      'a: &a [x, x]',
      ...Array.from(
        { length: 20 },
        (_, i) =>
          `a${i}: &a${i} [${Array(9)
            .fill(i === 0 ? '*a' : `*a${i - 1}`)
            .join(', ')}]`,
      ),
    ].join('\n');
    const began = Date.now();
    expect(errors(`${bomb}\n`).length).toBeGreaterThan(0);
    expect(Date.now() - began).toBeLessThan(15_000);
  });

  test('no text makes it throw, or say OK', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.json(),
          fc.object().map((value) => stringify(value)),
          mutation(),
        ),
        (text) => {
          const result = load(text);
          if (!result.ok) expect(result.errors.length).toBeGreaterThan(0);
        },
      ),
      { numRuns: 500 },
    );
  });
});

/** The minimal file with a piece cut out or put in. */
const mutation = () =>
  fc
    .tuple(fc.nat(MINIMAL.length), fc.nat(20), fc.string({ maxLength: 8 }))
    .map(([at, cut, put]) => MINIMAL.slice(0, at) + put + MINIMAL.slice(at + cut));

describe('for another machine', () => {
  test('neither secrets nor certificates nor the policy are looked for', () => {
    const text = target('credentials: { a: { bearer: { env: NOT_SET } }, b: { bearer: { file: /nowhere } } }, credential: a')
      .replace('path: policies', 'path: /nowhere')
      .replace('127.0.0.1:8080', '127.0.0.1:8080, tls: { certificate: /x, key: /y }');
    expect(errors(text).length).toBe(5);
    expect(errors(text, { elsewhere: true })).toEqual([]);
  });
});

describe('before a start', () => {
  test('a port in use is reported with all else that is wrong', async () => {
    const taken = createServer();
    await new Promise<void>((settle) => taken.listen(0, '127.0.0.1', settle));
    const { port } = taken.address() as AddressInfo;
    try {
      const text = replaced('127.0.0.1:8080', `127.0.0.1:${port}`);
      expect(errors(text)).toEqual([]);
      const result = await loadConfigToStart(join(dir, 'sluice.yaml'), 'gateway', { env: {} });
      expect(result.ok ? [] : result.errors.map(({ path, problem }) => [path, problem])).toEqual([
        ['listeners[0].address', `127.0.0.1:${port} is in use`],
      ]);
      writeFileSync(join(dir, 'sluice.yaml'), `${text}polcy: {}\n`);
      const both = await loadConfigToStart(join(dir, 'sluice.yaml'), 'gateway', { env: {} });
      expect(both.ok ? 0 : both.errors.length).toBe(2);
    } finally {
      taken.close();
    }
  });

  test("the service alone asks for its own ports only: Envoy's may be taken, by the Envoy that it is for", async () => {
    const taken = createServer();
    await new Promise<void>((settle) => taken.listen(0, '127.0.0.1', settle));
    const { port } = taken.address() as AddressInfo;
    const start = async (text: string): Promise<string[]> => {
      writeFileSync(join(dir, 'sluice.yaml'), text);
      const result = await loadConfigToStart(join(dir, 'sluice.yaml'), 'service', { env: {} });
      return result.ok ? [] : result.errors.map(formatConfigError);
    };
    try {
      expect(await start(replaced('127.0.0.1:8080', `127.0.0.1:${port}`))).toEqual([]);
      const text = `${MINIMAL}polcy: {}\nadmin: { address: "127.0.0.1:${port}" }\n`;
      const line = (what: string): number => text.split('\n').findIndex((one) => one.startsWith(what)) + 1;
      expect(await start(text)).toEqual([
        expect.stringMatching(new RegExp(`sluice.yaml:${line('polcy')}:1: polcy: unknown key`)),
        expect.stringMatching(
          new RegExp(
            `sluice.yaml:${line('admin')}:19: admin.address: 127.0.0.1:${port} is in use; end what listens there, or choose another port`,
          ),
        ),
      ]);
    } finally {
      taken.close();
    }
  });

  test('an address of another machine', async () => {
    writeFileSync(join(dir, 'sluice.yaml'), replaced('127.0.0.1:8080', '192.0.2.1:8080, private: true'));
    const result = await loadConfigToStart(join(dir, 'sluice.yaml'), 'gateway', { env: {} });
    expect(result.ok ? '' : result.errors.map(formatConfigError).join()).toContain('is not an address of this machine');
  });
});

test('docs/configuration.md is up to date (node authz-service/config/reference.ts)', () => {
  const document = readFileSync(new URL('../../docs/configuration.md', import.meta.url), 'utf8');
  expect(withReference(document)).toBe(document);
});

test('the smallest file of docs/configuration.md is right', () => {
  const document = readFileSync(new URL('../../docs/configuration.md', import.meta.url), 'utf8');
  const [, yaml = ''] = /```yaml\n(version: 1[\s\S]*?)```/.exec(document) ?? [];
  expect(errors(yaml, { elsewhere: true })).toEqual([]);
});

describe('databases', () => {
  const LEDGER = `  - name: ledger
    protocol: postgres
    listener: db
    url: postgres://127.0.0.1
    database: ledger
    credentials: { default: { password: { username: app, password: { file: secret } } } }
`;
  const base = MINIMAL.replace('  - { name: http, address: 127.0.0.1:8080 }\n', '$&  - { name: db, address: 127.0.0.1:5432 }\n').replace(
    'policy:',
    `${LEDGER}policy:`,
  );
  const changed = (from: string, to: string): string =>
    base.includes(from) ? base.replace(from, to) : expect.fail(`${from} is not in the file`);

  test('the smallest one has every default filled in', () => {
    expect(config(base).targets[1]).toEqual({
      name: 'ledger',
      protocol: 'postgres',
      listener: 'db',
      tunnel: undefined,
      url: { scheme: 'postgres', host: '127.0.0.1', port: 5432 },
      database: 'ledger',
      tls: undefined,
      labels: {},
      credential: 'default',
      credentials: { default: { type: 'password', username: 'app', secret: { file: join(dir, 'secret') } } },
      sensitive: [],
      record: { maxRequestBytes: 65_536, maxResponseBytes: 262_144 },
      connectTimeoutMs: 5_000,
      idleTimeoutMs: 86_400_000,
    });
  });

  test('columns, TLS, a tunnel beside the listener or in its place', () => {
    expect(
      config(
        changed(
          '    database: ledger\n',
          '    database: ledger\n    tunnel: http\n    tls: {}\n    sensitive: [public.customers.ssn, "*.*.email"]\n',
        ),
      ).targets[1],
    ).toMatchObject({
      listener: 'db',
      tunnel: 'http',
      tls: { ca: undefined },
      sensitive: ['public.customers.ssn', '*.*.email'],
    });
    expect(config(changed('listener: db', 'tunnel: http')).targets[1]).toMatchObject({ listener: undefined, tunnel: 'http' });
    expect(config(changed('postgres://127.0.0.1', 'postgresql://DB.example:80')).targets[1]).toMatchObject({
      url: { scheme: 'postgresql', host: 'db.example', port: 80 },
    });
  });

  test.each<[string, string, string, string[]]>([
    [
      'a listener that carries HTTP',
      'listener: db',
      'listener: http',
      ["sluice.yaml:11:15: targets[1].listener: 'http' carries target 'orders' already; a database needs a listener of its own"],
    ],
    ['no way in', '    listener: db\n', '', ['sluice.yaml:9:5: targets[1]: nothing leads to it; give `listener`, `tunnel`, or both']],
    [
      'a listener that does not exist',
      'listener: db',
      'listener: dbs',
      ["sluice.yaml:11:15: targets[1].listener: there is no listener 'dbs'; did you mean 'db'?"],
    ],
    [
      'a tunnel that does not exist',
      'listener: db',
      'tunnel: htpp',
      ["sluice.yaml:11:13: targets[1].tunnel: there is no listener 'htpp'; did you mean 'http'?"],
    ],
    [
      'a tunnel through a database',
      'listener: db',
      'listener: db\n    tunnel: db',
      ["sluice.yaml:12:13: targets[1].tunnel: 'db' carries the database 'ledger'; a tunnel is a listener of HTTP targets"],
    ],
    [
      'a URL of HTTP',
      'postgres://127.0.0.1',
      'http://127.0.0.1:5432',
      [
        "sluice.yaml:12:10: targets[1].url: 'http://127.0.0.1:5432' does not fit; must be postgres://HOST[:PORT] or postgresql://HOST[:PORT], without user, path, query or fragment",
      ],
    ],
    [
      'no database',
      '    database: ledger\n',
      '',
      [
        'sluice.yaml:9:5: targets[1]: `database` is missing; give `database: …`, a text: the database that sessions are let into, whatever they ask for',
      ],
    ],
    [
      'no credentials',
      / +credentials.*\n/.exec(LEDGER)?.[0] ?? '',
      '',
      [
        'sluice.yaml:9:5: targets[1]: `credentials` is missing; give `credentials: …`, a mapping of names to `password: { username, password: SECRET }` or `entra: { username, identity, client_id, resource }`: what the gateway logs in with, by name',
      ],
    ],
    [
      'empty credentials',
      /\{ default.*/.exec(LEDGER)?.[0] ?? '',
      '{}',
      [
        'sluice.yaml:14:18: targets[1].credentials: the gateway has nothing to log in with; give `NAME: { password: { username, password } }`',
      ],
    ],
    [
      'a credential of HTTP',
      /\{ password: .* \} \}/.exec(LEDGER)?.[0] ?? '',
      '{ bearer: { file: secret } } }',
      ['sluice.yaml:14:31: targets[1].credentials.default.bearer: unknown key `bearer`; known here: password, entra'],
    ],
    [
      'a token of Entra to a database elsewhere, in clear, for a role that is none',
      LEDGER.slice(LEDGER.indexOf('    url:')),
      `    url: postgres://db.example
    database: ledger
    credentials: { default: { entra: { username: "${'r'.repeat(64)}", identity: workload } } }
`,
      [
        'sluice.yaml:14:29: targets[1].credentials.default: username must be the name of a role: at most 63 bytes, no control characters',
        'sluice.yaml:14:29: targets[1].credentials.default: the token would cross the network in clear; give the target `tls`',
      ],
    ],
    [
      'patterns that are none',
      '    database: ledger\n',
      '    database: ledger\n    sensitive: [customers.ssn, public.customers.s*n, "public..ssn"]\n',
      [17, 32, 54].map((column) =>
        expect.stringMatching(
          `sluice.yaml:14:${column}: targets\\[1\\]\\.sensitive\\[\\d\\]: .* does not fit; must be .SCHEMA.TABLE.COLUMN.`,
        ),
      ) as unknown as string[],
    ],
    [
      'keys of HTTP',
      '    database: ledger\n',
      '    database: ledger\n    hosts: [x]\n',
      [expect.stringMatching('sluice.yaml:14:5: targets\\[1\\].hosts: unknown key `hosts`') as unknown as string],
    ],
    [
      'a protocol that there is not',
      'protocol: postgres',
      'protocol: mysql',
      ["sluice.yaml:10:15: targets[1].protocol: 'mysql' does not fit; must be one of http, postgres"],
    ],
    [
      'one half of a client certificate',
      '    database: ledger\n',
      '    database: ledger\n    tls: { key: one.key }\n',
      ['sluice.yaml:14:10: targets[1].tls: `certificate` and `key` belong together; give both or none'],
    ],
    [
      'a listener in clear on the network',
      '127.0.0.1:5432',
      '0.0.0.0:5432',
      [
        'sluice.yaml:4:26: listeners[1].address: tokens would cross the network in clear; give `tls`, a loopback address, or `private: true` where the network itself is protected',
      ],
    ],
    ['a role that is none', 'username: app', 'username: "a\\nb"', [expect.stringContaining('sluice.yaml:14:') as unknown as string]],
  ])('%s', (_, from, to, told) => {
    expect(errors(changed(from, to))).toEqual(told);
  });

  test('two of one listener, and a tunnel by the name of a host', () => {
    const twice = base.replace('policy:', `${LEDGER.replace('name: ledger', 'name: second')}policy:`);
    expect(errors(twice)).toEqual([
      "sluice.yaml:17:15: targets[2].listener: 'db' carries target 'ledger' already; a database needs a listener of its own",
    ]);
    const host = base
      .replace('listener: db', 'listener: db\n    tunnel: http')
      .replace('listener: http,', 'listener: http, hosts: [Ledger],');
    expect(errors(host)).toEqual([
      "sluice.yaml:12:13: targets[1].tunnel: 'ledger' leads to target 'orders' already; each host of a listener leads to one target",
    ]);
  });

  test('an HTTP target cannot have a password', () => {
    expect(errors(target('credentials: { a: { password: { username: x, password: { file: secret } } } }'))).toEqual([
      expect.stringContaining('targets[0].credentials.a.password: unknown key `password`'),
    ]);
  });
});

describe('where the record is exported to', () => {
  const exported = (more: string): string => `${MINIMAL}export:\n  - { name: siem, ${more} }\n`;

  test('each kind of place is read, with the defaults that they share', () => {
    const { export: places } = config(`${MINIMAL}export:
  - { name: file, type: file, path: out/events.ndjson }
  - { name: os, type: elastic, url: "https://os.example:9200", index: sluice, auth: { basic: { username: u, password: { file: secret } } } }
  - { name: hec, type: splunk, url: "https://splunk.example:8088/", token: { file: secret }, acknowledge: true }
  - { name: loki, type: loki, url: "http://127.0.0.1:3100", labels: { job: sluice }, tenant: audit }
  - { name: otel, type: otlp, url: "http://[::1]:4318", attributes: { deployment.environment.name: prod } }
  - { name: hook, type: webhook, url: "https://hook.example/in", auth: { header: { name: X-Key, value: { file: secret } } }, format: json, events: [notice] }
  - { name: log, type: syslog, address: "log.example:6514", tls: { ca: one.crt }, hostname: gw, from: now, on_refused: dead_letter }
`);
    const shared = {
      from: 'beginning',
      onRefused: 'stop',
      timeoutMs: 30_000,
      batch: { events: 500, bytes: 1 << 20, waitMs: 1000 },
      retry: { firstMs: 500, mostMs: 60_000 },
    };
    expect(places).toMatchObject([
      { ...shared, name: 'file', format: { format: 'ocsf' }, place: { type: 'file', path: join(dir, 'out/events.ndjson') } },
      {
        place: {
          type: 'elastic',
          url: 'https://os.example:9200/',
          headers: { authorization: { prefix: '', username: 'u', source: { file: join(dir, 'secret') } } },
        },
      },
      { place: { type: 'splunk', token: { file: join(dir, 'secret') }, sourcetype: 'sluice', acknowledge: true } },
      { place: { type: 'loki', labels: { job: 'sluice' }, tenant: 'audit' } },
      { place: { type: 'otlp', attributes: { 'deployment.environment.name': 'prod' } } },
      { format: { format: 'json', kinds: ['notice'] }, place: { type: 'webhook', headers: { 'x-key': { prefix: '' } } } },
      {
        from: 'now',
        onRefused: 'dead_letter',
        place: { type: 'syslog', host: 'log.example', port: 6514, tls: { ca: join(dir, 'one.crt') } },
      },
    ]);
    expect(places[0]?.format.kinds).not.toContain('payload_chunk');
  });

  test.each([
    ['type: kafka', /must be one of file, elastic, splunk/],
    ['type: webhook, url: "http://siem.example/in"', /export\[0\]\.url: the record would cross the network in clear/],
    ['type: syslog, address: "log.example:514", transport: tcp', /export\[0\]\.address: the record would cross/],
    ['type: syslog, address: "127.0.0.1:514", transport: tcp, tls: { ca: one.crt }', /reached without TLS/],
    ['type: webhook, url: "https://siem.example", tls: { certificate: one.crt }', /belong together/],
    ['type: webhook, url: "https://user:pw@siem.example"', /does not fit/],
    ['type: webhook, url: "https://siem.example/?token=1"', /does not fit/],
    ['type: webhook, url: "https://siem.example", auth: { header: { name: "a b", value: { file: secret } } }', /export\[0\]\.auth: /],
    ['type: splunk, url: "https://siem.example", token: s3cret', /a secret does not stand in the configuration itself/],
    ['type: elastic, url: "https://siem.example", index: "A*"', /does not fit/],
    ['type: file, path: x, events: [everything]', /must be one of session_opened/],
  ])('%s is refused', (more, problem) => {
    expect(errors(exported(more)).join('\n')).toMatch(problem);
  });

  test('in clear where the network is said to be private, under names that differ', () => {
    expect(errors(exported('type: webhook, url: "http://siem.example/in", private: true'))).toEqual([]);
    const twice = `${exported('type: file, path: a')}  - { name: siem, type: file, path: b }\n`;
    expect(errors(twice).join()).toMatch(/'siem' is the name of export\[0\] already/);
  });
});

describe('places of checkpoints over HTTP', () => {
  const placed = (more: string, beside = ''): string =>
    `${MINIMAL}tap:\n  checkpoints: { to: [{ type: http, name: web, url: "https://kept.example/sluice"${more} }] }\n${beside}`;
  const DEMANDED = '  require_elsewhere: true\n';

  test('are read where they say so', () => {
    const [place] = config(placed(', read: "https://kept.example/newest"', DEMANDED)).tap.checkpoints.to;
    expect(place).toMatchObject({ read: 'https://kept.example/newest' });
    expect(errors(placed(''))).toEqual([]);
  });

  test.each([
    ['', DEMANDED, /tap\.checkpoints\.to\[0\]: cannot be read, and `tap\.require_elsewhere` demands its answer; give `read`/],
    [', read: "https://other.example/newest"', '', /tap\.checkpoints\.to\[0\]\.read: is not at https:\/\/kept\.example; must have/],
    [', read: "http://kept.example/newest"', '', /\.read: is not at/],
    [', read: "https://user:pw@kept.example/"', '', /\.read: .*does not fit/],
  ])('%s%s are refused', (more, beside, problem) => {
    expect(errors(placed(more, beside)).join('\n')).toMatch(problem);
  });
});

describe('the age of leaves', () => {
  const kept = (retention: string): string => `${MINIMAL}tap: { retention: { ${retention} } }\n`;

  test('is at least that of what they hold on to', () => {
    expect(errors(kept('events: 400d, payloads: 90d, leaves: 400d'))).toEqual([]);
    expect(errors(kept('events: 400d, payloads: 90d, kinds: { rows: 400d, copied_rows: 1m }, leaves: 400d'))).toEqual([]);
    expect(config(kept('events: 400d')).tap.retention.leavesMs).toBeUndefined();
  });

  test('is that of a kind of payload where one is given', () => {
    const all = { requestBodiesMs: undefined, responseBodiesMs: undefined, rowsMs: undefined, copiedRowsMs: undefined };
    expect(config(kept('payloads: 90d')).tap.retention).toMatchObject({ payloadsMs: 90 * 86_400_000, kinds: all });
    const { kinds } = config(kept('kinds: { rows: 7d, request_bodies: 30d }')).tap.retention;
    expect(kinds).toEqual({ ...all, rowsMs: 7 * 86_400_000, requestBodiesMs: 30 * 86_400_000 });
  });

  test.each([
    ['kinds: { row: 7d }', /tap\.retention\.kinds\.row: .*unknown/],
    ['kinds: { rows: 0s }', /tap\.retention\.kinds\.rows: /],
    ['kinds: { rows: 7 }', /tap\.retention\.kinds\.rows: /],
    ['kinds: 7d', /tap\.retention\.kinds: /],
    [
      'events: 30d, payloads: 7d, leaves: 30d, kinds: { copied_rows: 31d }',
      /:\d+:\d+: tap\.retention\.kinds\.copied_rows: its leaves would go before it; must be at most as long as `leaves`/,
    ],
    ['events: 30d, leaves: 30d, kinds: { rows: 7d }', /tap\.retention\.leaves: leaves would go before what they hold on to/],
  ])('%s is refused, with its place', (retention, problem) => {
    expect(errors(kept(retention)).join('\n')).toMatch(problem);
  });

  test.each([
    'leaves: 400d',
    'leaves: 400d, events: 30d',
    'leaves: 400d, payloads: 30d',
    'leaves: 30d, events: 31d, payloads: 1d',
    'leaves: 30d, events: 1d, payloads: 31d',
  ])('%s is refused', (retention) => {
    expect(errors(kept(retention)).join('\n')).toMatch(
      /tap\.retention\.leaves: leaves would go before what they hold on to; must be at least/,
    );
  });
});
