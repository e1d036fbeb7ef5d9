/** Every key of sluice.yaml: one row each. The parser, the types and the reference in docs/configuration.md are made of these rows. */
import { DEFAULT_KINDS, FORMATS, KINDS } from '../export/format.ts';
import { ALGORITHMS, type Algorithm } from '../identity/algorithm.ts';
import {
  address,
  choice,
  duration,
  envoyPath,
  flag,
  integer,
  list,
  map,
  name,
  object,
  optional,
  origin,
  path,
  peer,
  preset,
  required,
  secret,
  size,
  type TypeOf,
  tagged,
  text,
  variants,
  version,
  webAddress,
} from './kinds.ts';

const NAME = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;
const nameWant = 'lower-case letters, digits and `-`, at most 63';

/** For a listener of ours, whose peers are agents or Envoy. */
const serverTls = object({
  certificate: required(path('file'), 'The certificate chain, PEM.'),
  key: required(path('file'), 'The private key of the certificate, PEM.'),
  client_ca: optional(path('file'), 'CA certificates, PEM. Given, a peer must present a certificate of one of them.'),
});

const listener = object({
  name: required(name, 'The name by which targets refer to it.'),
  address: required(address, 'Where Envoy listens for agents.'),
  tls: optional(serverTls, 'TLS towards the agents. The files are read again when they change.'),
  private: preset(
    flag,
    'false',
    'Says that the network in front of a listener without TLS is private (mesh mTLS, loopback of a pod): tokens cross it in clear.',
  ),
  trusted_proxies: preset(integer(0, 16), '0', 'How many proxies in front add to `x-forwarded-for`, for the client address in the record.'),
});

const claimPath = text('the name of a claim, or a dotted path to it');

const issuer = object({
  name: required(
    text('lower-case letters, digits, `.`, `_` and `-`, at most 63', /^[a-z0-9][a-z0-9._-]{0,62}$/, 'name'),
    'The prefix of every identity of this issuer.',
  ),
  kind: preset(choice('oidc', 'entra'), 'oidc', 'What it is: any OpenID Connect issuer, or Microsoft Entra.'),
  issuer: required(text('an https URL'), 'The value of `iss`, exactly; for Entra the authority, `https://login.microsoftonline.com`.'),
  audiences: required(list(text(), { least: 1 }), 'A token must be for one of these (`aud`).'),
  algorithms: optional(
    list(choice(...(Object.keys(ALGORITHMS) as Algorithm[])), { least: 1 }),
    'Accepted signature algorithms. Default RS256, PS256, ES256, ES384, EdDSA; for Entra RS256.',
  ),
  jwks_uri: optional(text('an https URL'), "Where the keys are. Default: what the issuer's metadata says."),
  clock_skew: preset(duration('0s', '5m'), '30s', 'Allowed difference of clocks.'),
  claims: optional(
    object({
      groups: optional(claimPath, 'Groups. Default `groups`.'),
      roles: optional(claimPath, 'Roles. Default `roles`.'),
      name: optional(claimPath, 'A name for people to read. Default: the usual ones.'),
      run: optional(claimPath, 'The id of the run. Default `run_id`.'),
      on_behalf_of: optional(claimPath, 'On whose behalf, for tokens without `act`.'),
    }),
    'Where claims are.',
  ),
  tenants: optional(
    list(text('a GUID', /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i, 'GUID'), { least: 1 }),
    'Entra: the tenants whose tokens are accepted.',
  ),
  v1_issuer: optional(text('an https URL'), 'Entra: the origin of v1.0 issuers. Default `https://sts.windows.net`.'),
  token_types: optional(list(text(), { least: 1 }), 'Accepted `typ` headers. Default `at+jwt`, `JWT`.'),
  subjects: optional(choice('user', 'workload'), 'What all subjects of this issuer are. Default: worked out from each token.'),
  keys: optional(
    object({
      refresh: optional(duration('1s', '1d'), 'From one fetch of the key set to the next. Default `10m`.'),
      max_stale: optional(duration('0s', '7d'), 'How long a fetched key set serves while the issuer is away. Default `24h`.'),
      cooldown: optional(duration('0s', '1h'), 'Between fetches that unknown keys or failures ask for. Default `30s`.'),
      timeout: optional(duration('100ms', '30s'), 'For one fetch. Default `5s`.'),
    }),
    'How the key set is fetched.',
  ),
});

const entraIdentity = {
  identity: preset(
    choice('managed', 'workload'),
    'managed',
    'Who the service is in Microsoft Entra: a managed identity, or a workload identity.',
  ),
  client_id: optional(text(), 'Of a user-assigned identity, or of the federated application.'),
};

const kept = {
  bearer: secret(),
  basic: object({ username: required(text(), 'The user name.'), password: required(secret(), 'The password.') }),
  header: object({ name: required(text('a header name'), 'The name of the header.'), value: required(secret(), 'Its value.') }),
};

const exportCredential = tagged(
  { ...kept, none: object({}) },
  '`bearer: SECRET`, `basic: { username, password: SECRET }`, `header: { name, value: SECRET }` or `none: {}`',
);

const httpCredential = tagged(
  {
    ...kept,
    entra: object({ ...entraIdentity, resource: required(text('an application ID URI'), 'Whom the token is for, without `/.default`.') }),
    none: object({}),
  },
  '`bearer: SECRET`, `basic: { username, password: SECRET }`, `header: { name, value: SECRET }`, `entra: { resource, identity, client_id }` or `none: {}`',
);

const databaseCredential = tagged(
  {
    password: object({
      username: required(text(), 'The role that the gateway logs in as.'),
      password: required(secret(), 'Its password, or a token that the database takes as one.'),
    }),
    entra: object({
      username: required(text(), 'The role that the gateway logs in as, with a token of Microsoft Entra as its password.'),
      ...entraIdentity,
      resource: preset(
        text('an application ID URI'),
        'https://ossrdbms-aad.database.windows.net',
        "Whom the token is for, without `/.default`; by default Azure's databases for PostgreSQL.",
      ),
    }),
  },
  '`password: { username, password: SECRET }` or `entra: { username, identity, client_id, resource }`',
);

const upstreamTls = object({
  ca: optional(envoyPath, "CA certificates, PEM. Default: the system's."),
  server_name: optional(text('a host name'), "The name asked for (SNI) and verified. Default: the URL's host."),
  certificate: optional(envoyPath, 'The client certificate that the gateway presents, PEM.'),
  key: optional(envoyPath, 'The private key of the client certificate, PEM.'),
});

const maxRecorded = size('0B', '16MiB');

/** What targets of every protocol have. */
const targetRows = {
  name: required(name, 'The name by which policy and record know it.'),
  labels: preset(
    map(text('a text', /^[^\p{Cc}]*$/u), /^[\w./-]{1,63}$/, 'letters, digits, `_`, `.`, `/` and `-`, at most 63'),
    '{}',
    'What policy may go by, as `env: prod`.',
  ),
  credential: optional(name, 'The credential that is used when the policy names none. Default: the one named `default`, or the only one.'),
  connect_timeout: preset(duration('100ms', '5m'), '5s', 'For a connection to the target.'),
  record: preset(
    object({
      max_request: optional(maxRecorded, 'Of each request. Default: that of `tap.record`.'),
      max_response: optional(maxRecorded, 'Of each response or result. Default: that of `tap.record`.'),
    }),
    '{}',
    'How much payload is recorded where the policy obliges to (`record`).',
  ),
} as const;

const httpTarget = object({
  protocol: preset(choice('http'), 'http', 'What it speaks.'),
  ...targetRows,
  listener: required(name, 'The listener that it is reached through.'),
  hosts: preset(
    list(text('a host name without port, `*.SUFFIX`, or `*`', /^(?:\*|(?:\*\.)?[a-z0-9_-]+(?:\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\])$/i, 'host'), {
      least: 1,
    }),
    '["*"]',
    'The hosts of the listener that lead to it.',
  ),
  url: required(
    origin({ http: 80, https: 443 }),
    'Where the target is: `http://HOST[:PORT]`, or `https://` for TLS with its certificate verified.',
  ),
  http_version: preset(choice('auto', '1', '2'), 'auto', 'Towards the target. `auto`: negotiated over TLS, HTTP/1.1 without.'),
  tls: optional(upstreamTls, 'TLS towards an `https` target.'),
  credentials: preset(map(httpCredential, NAME, nameWant), '{}', 'What the gateway proves itself to the target with, by name.'),
  request_body_limit: preset(size('1B', '64MiB'), '1MiB', 'Longer request bodies get 413: policy judges whole requests only.'),
  response_timeout: preset(duration('0s', '24h'), '0s', 'From the end of the request to the end of the response; `0s`: none.'),
});

const COLUMN = /^(?:\*|[^.*"\p{Cc}]+)(?:\.(?:\*|[^.*"\p{Cc}]+)){2}$/u;

const postgresTarget = object({
  protocol: required(choice('postgres'), 'What it speaks: the PostgreSQL protocol, version 3.'),
  ...targetRows,
  listener: optional(name, 'The listener that it is reached through; it carries nothing else. This, `tunnel`, or both.'),
  tunnel: optional(name, 'A listener of HTTP targets through which it is reached by `CONNECT NAME:PORT`, as `sluice connect` does.'),
  url: required(origin({ postgres: 5432, postgresql: 5432 }), 'Where the server is: `postgres://HOST[:PORT]`.'),
  database: required(
    text('the name of a database', /^[^\p{Cc}]{1,63}$/u),
    'The database that sessions are let into, whatever they ask for.',
  ),
  tls: optional(upstreamTls, 'TLS towards the server, from the first byte (PostgreSQL 17 and later). Left out: none.'),
  credentials: required(map(databaseCredential, NAME, nameWant), 'What the gateway logs in with, by name.'),
  sensitive: preset(
    list(
      text(
        '`SCHEMA.TABLE.COLUMN` as the catalog has them, each of the three or `*`; a pattern that begins with `*` needs quotes',
        COLUMN,
        'column pattern',
      ),
    ),
    '[]',
    'Columns that hold sensitive values: what the policy does with them is its own to say, by default they are masked.',
  ),
  idle_timeout: preset(
    duration('0s', '7d'),
    '24h',
    'After so long without a byte a session is ended; `0s`: never. Not before the longest hold.',
  ),
});

const target = variants('protocol', { http: httpTarget, postgres: postgresTarget });

const endpoint = object({
  socket: optional(path('new file'), 'A Unix socket. Default: in `run/` of the state directory.'),
  address: optional(address, 'Where the service listens for Envoy instead; needs `tls`.'),
  connect: optional(peer, 'Where Envoy connects to. Default: `address`.'),
  tls: optional(serverTls, 'Mutual TLS: `client_ca` is required here.'),
});

/** What exports to places of every kind have. */
const exportRows = {
  name: required(name, 'The name of the export, in metrics and of its cursor: under another name it begins anew.'),
  format: preset(choice(...FORMATS), 'ocsf', 'Events of the Open Cybersecurity Schema Framework 1.5, or as the record has them.'),
  events: preset(
    list(choice(...KINDS), { least: 1 }),
    `[${DEFAULT_KINDS.join(', ')}]`,
    'Which kinds of events. `payload_chunk` is sent with `format: json` only.',
  ),
  from: preset(choice('beginning', 'now'), 'beginning', 'Where an export begins that has no cursor yet.'),
  on_refused: preset(
    choice('stop', 'dead_letter'),
    'stop',
    'An event that the receiver refuses for ever: wait, loudly; or put it into a file under `export/` of the state directory, and go on.',
  ),
  timeout: preset(duration('1s', '10m'), '30s', 'For the answer to a batch.'),
  max_retry: preset(duration('1s', '1h'), '1m', 'The longest pause between two tries while the receiver is away.'),
  batch: preset(
    object({
      events: preset(integer(1, 10_000), '500', 'How many events are sent at once, at most.'),
      size: preset(size('1KiB', '16MiB'), '1MiB', 'How long they are together in the record, at most; one event is always sent.'),
      wait: preset(duration('50ms', '1m'), '1s', 'How long events are gathered when there are few.'),
    }),
    '{}',
    'How much is sent at once.',
  ),
} as const;

const exportTls = object({
  ca: optional(path('file'), "CA certificates, PEM. Default: Node's."),
  server_name: optional(text('a host name'), "The name asked for (SNI) and verified. Default: the URL's host."),
  certificate: optional(path('file'), 'The client certificate that the service presents, PEM.'),
  key: optional(path('file'), 'The private key of the client certificate, PEM.'),
});

const inClear = preset(flag, 'false', 'Says that the network to a receiver without TLS is private: the record crosses it in clear.');

const webRows = {
  url: required(webAddress, 'Where the receiver is; what its kind adds to the path is not part of it.'),
  tls: optional(exportTls, 'TLS towards an `https` receiver.'),
  private: inClear,
  gzip: preset(flag, 'false', 'Whether bodies are compressed.'),
} as const;

const exportAuth = optional(exportCredential, 'What the service proves itself with.');
const tags = map(text('a text', /^[^\p{Cc}]*$/u), /^[A-Za-z_][\w.]{0,62}$/, 'letters, digits, `_` and `.`, at most 63');

const destination = variants('type', {
  file: object({
    type: required(choice('file'), 'A file of one JSON object a line.'),
    ...exportRows,
    path: required(path('new file'), 'The file. When it is moved away (log rotation), a new one is begun.'),
  }),
  elastic: object({
    type: required(choice('elastic'), 'Elasticsearch or OpenSearch, by `_bulk`.'),
    ...exportRows,
    ...webRows,
    index: required(
      text('the name of an index, alias or data stream', /^[^\s"*\\<|,>/?A-Z\p{Cc}]{1,255}$/u),
      'The index, alias or data stream.',
    ),
    auth: exportAuth,
  }),
  splunk: object({
    type: required(choice('splunk'), "Splunk's HTTP Event Collector."),
    ...exportRows,
    ...webRows,
    token: required(secret(), "The collector's token."),
    index: optional(text(), "The index. Default: the token's."),
    sourcetype: preset(text(), 'sluice', 'The source type.'),
    acknowledge: preset(flag, 'false', 'Whether an event counts only when the indexers have it; the token must allow acknowledgement.'),
  }),
  loki: object({
    type: required(choice('loki'), "Loki's push API, at `/loki/api/v1/push`."),
    ...exportRows,
    ...webRows,
    labels: preset(tags, '{ service_name: sluice }', 'The labels of the one stream.'),
    tenant: optional(text('a tenant', /^[\w.-]{1,150}$/), 'The value of `X-Scope-OrgID`.'),
    auth: exportAuth,
  }),
  otlp: object({
    type: required(choice('otlp'), 'OpenTelemetry logs by OTLP/HTTP in JSON, at `/v1/logs`.'),
    ...exportRows,
    ...webRows,
    attributes: preset(tags, '{}', 'Attributes of the resource, beside `service.name` and `service.version`.'),
    auth: exportAuth,
  }),
  webhook: object({
    type: required(choice('webhook'), 'Any receiver of HTTP `POST`: one JSON object a line.'),
    ...exportRows,
    ...webRows,
    auth: exportAuth,
  }),
  syslog: object({
    type: required(choice('syslog'), 'RFC 5424 with octet counting, over TLS.'),
    ...exportRows,
    address: required(peer, 'Where the receiver is.'),
    transport: preset(choice('tls', 'tcp'), 'tls', 'What carries it.'),
    tls: optional(exportTls, 'TLS towards the receiver.'),
    private: inClear,
    facility: preset(integer(0, 23), '13', 'The facility; 13 is `log audit`.'),
    hostname: optional(text('a host name', /^[\x21-\x7e]{1,255}$/), 'HOSTNAME of the messages. Default: that of this machine.'),
  }),
});

/** What stores of every type have. */
const storeRows = {
  name: required(name, 'The name by which metrics and messages know it.'),
  prefix: preset(
    text('empty, or segments of `a` to `z`, `0` to `9`, `.`, `_` and `-`, each ending in `/`', /^(?:[a-z0-9][a-z0-9._-]*\/)*$/),
    '""',
    'What all keys begin with.',
  ),
  write_once: preset(
    choice('no', 'governance', 'compliance'),
    'no',
    'Whether objects that will not change are locked, and how: under `compliance` nobody shortens a lock. Tried before anything is written there; a store that does not keep it stops the start or, when it comes back later, what is new.',
  ),
  lock: preset(
    duration('1m', '36500d'),
    '365d',
    'For how long from their arrival tiles, entries and checkpoints are locked. Events are locked for their retention, or as long as these.',
  ),
  timeout: preset(duration('100ms', '10m'), '30s', 'For one attempt of one call.'),
  retry: preset(
    duration('1s', '1d'),
    '1m',
    'From one trial of a store that has not what was asked of it to the next. One that is away is tried each 10 s, or as often as this.',
  ),
} as const;

const storeTls = object({ ca: optional(path('file'), "CA certificates, PEM. Default: Node's.") });

const remoteStore = {
  s3: object({
    type: required(choice('s3'), 'S3, or what speaks it.'),
    ...storeRows,
    bucket: required(text('the name of a bucket', /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/, 'name'), 'The bucket.'),
    region: required(text('a region', /^[a-z0-9-]{1,32}$/, 'name'), 'Its region, as `eu-central-1`; MinIO takes `us-east-1`.'),
    endpoint: optional(webAddress, 'Where it is. Default: that of AWS in the region.'),
    path_style: optional(flag, 'Whether the bucket is in the path in place of the host. Default: yes where `endpoint` is given.'),
    access_key_id: optional(
      text('an access key id', /^[\w+=,.@-]{1,128}$/),
      'With `secret_access_key`. Default: what the environment gives (web identity, container, instance metadata).',
    ),
    secret_access_key: optional(secret(), 'The secret to `access_key_id`.'),
    tls: optional(storeTls, 'TLS towards it.'),
  }),
  azure: object({
    type: required(choice('azure'), 'Azure Blob Storage.'),
    ...storeRows,
    account: required(text('the name of a storage account', /^[a-z0-9]{3,24}$/, 'name'), 'The storage account.'),
    container: required(text('the name of a container', /^[a-z0-9](?:[a-z0-9-]{1,61}[a-z0-9])?$/, 'name'), 'The container.'),
    endpoint: optional(webAddress, 'Where it is. Default: `https://ACCOUNT.blob.core.windows.net`.'),
    identity: preset(
      choice('managed', 'workload', 'key'),
      'managed',
      "Who the service is: a managed identity, a workload identity, or whoever has the account's key.",
    ),
    client_id: optional(text(), 'Of a user-assigned identity, or of the federated application.'),
    key: optional(secret(), "The account's key, for `identity: key`."),
    tls: optional(storeTls, 'TLS towards it.'),
  }),
  directory: object({
    type: required(choice('directory'), 'A directory, as of another file system. It has no locks.'),
    name: required(name, 'The name by which metrics and messages know it.'),
    path: required(path('new directory'), 'The directory; nobody else writes there.'),
  }),
} as const;

const replica = variants('type', remoteStore);
const checkpointPlace = variants('type', {
  ...remoteStore,
  http: object({
    type: required(choice('http'), 'A receiver that gets each checkpoint by `POST`, as text.'),
    name: required(name, 'The name by which metrics and messages know it.'),
    url: required(webAddress, 'Where it is.'),
    read: optional(
      webAddress,
      'Where the newest checkpoint that it has taken is given back to a `GET`, as text, and 404 while it has none; it may be `url` itself. Asked when the service starts. Without it the place is written to alone.',
    ),
    token: optional(secret(), 'A bearer token for both.'),
    tls: optional(storeTls, 'TLS towards it.'),
    timeout: preset(duration('100ms', '10m'), '30s', 'For one attempt of one call.'),
  }),
});

const witness = object({
  name: required(name, 'The name by which metrics and messages know it.'),
  url: required(webAddress, 'Its submission prefix (c2sp.org/tlog-witness).'),
  keys: required(
    list(text('a key, `NAME+ID+KEY`', /^[^\s+]+\+[0-9a-f]{8}\+[A-Za-z0-9+/=]+$/), { least: 1 }),
    'Its verifier keys, of type cosignature.',
  ),
});

const AGE = duration('1m', '36500d');

export const SCHEMA = object({
  version: required(version(1), 'The version of this format.'),
  state_dir: preset(path('new directory'), 'data', 'Where the record, approvals, sockets and the generated Envoy configuration are kept.'),
  state_on_network: preset(
    flag,
    'false',
    'Whether the service starts with a `state_dir` on a network file system (NFS, SMB and the like), where its index and its locks cannot be relied on.',
  ),
  listeners: required(list(listener, { least: 1 }), 'Where agents come in.'),
  issuers: required(list(issuer, { least: 1 }), 'Whose tokens are accepted.'),
  targets: required(list(target), 'What is behind the gateway.'),
  policy: required(
    object({
      path: required(path('file or directory'), 'A folder of Rego, or a bundle (`.tar.gz`).'),
      data: optional(path('file'), 'Data for the policy, YAML or JSON: the grants.'),
      timeout: preset(duration('1ms', '10s'), '250ms', 'An evaluation that has had the processor for longer is cut off and denied.'),
      workers: preset(integer(1, 64), '2', 'Decision workers.'),
    }),
    'What judges.',
  ),
  approvals: preset(
    object({
      max_ttl: preset(duration('1s', '7d'), '24h', "The longest hold; Envoy's time-outs follow it."),
      max_open: preset(integer(1, 1_000_000), '10000', "Holds open at once; more are denied. Envoy's circuit breakers follow it."),
      grant_ttl: preset(duration('1s', '7d'), '15m', 'How long an approval whose caller has gone can be used.'),
    }),
    '{}',
    'Held requests.',
  ),
  masking: preset(
    object({
      key: optional(secret(32), 'The key of hash masking, at least 32 characters. Required by policies that mask by `hash`.'),
      patterns: preset(
        map(text(), /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/, nameWant),
        '{}',
        'Custom detectors by name, for `pattern:NAME` in a policy; their syntax is in masking.md.',
      ),
      max_token: preset(size('1KiB', '1MiB'), '64KiB', 'The longest value that is held back while it is examined.'),
    }),
    '{}',
    'Masking.',
  ),
  tap: preset(
    object({
      require: preset(
        flag,
        'true',
        'Whether nothing new passes while the record cannot be written. `false` lets requests through unrecorded.',
      ),
      queue: preset(size('64KiB', '64MiB'), '4MiB', 'How much each Envoy worker keeps that the sink has not acknowledged.'),
      lag: preset(
        duration('100ms', '1m'),
        '1s',
        'How long what a session with a database has done may wait to be recorded before it may begin no further statement.',
      ),
      origin: optional(
        text('a name without spaces and `+`, as `gateway.example.com/sluice`', /^[^\s+\p{Cc}]{1,255}$/u, 'name'),
        'The name of the log, in each of its checkpoints; never to be changed. Default: the name in its key; of a new key `sluice.local/` and a random number.',
      ),
      key: optional(
        secret(),
        'The key that signs the log, as `sluice log key generate` writes it; each on a line of its own while keys change. Default: `tap/key` in the state directory, made at the first start.',
      ),
      record: preset(
        object({
          max_request: preset(maxRecorded, '64KiB', 'Of each request; what is beyond is not recorded, and the record says so.'),
          max_response: preset(maxRecorded, '256KiB', 'Of each response or result of a command, likewise.'),
          queue: preset(
            size('1MiB', '1GiB'),
            '64MiB',
            'How much payload each Envoy worker keeps for the sink, what it has promised to record included. What finds no room waits, and is refused after 2 s.',
          ),
        }),
        '{}',
        'Payload that is recorded where the policy obliges to (`record`).',
      ),
      envoy_access_log: preset(
        flag,
        'false',
        "Whether Envoy's own access log of the HTTP listeners is recorded beside what the filters tell: see recording.md.",
      ),
      envoy_tap: preset(
        flag,
        'false',
        "Whether what taps of Envoy's send to `service.tap` (`envoy.service.tap.v3`) is recorded too: see recording.md.",
      ),
      require_elsewhere: preset(
        flag,
        'false',
        'Whether the service starts only when every replica, witness and place of checkpoints has said that the record is whole, and one of them knows it. `false`: those that are away are named in the log of the service.',
      ),
      replicas: preset(list(replica), '[]', 'Where the published log is copied to as it grows: see operations.md.'),
      retention: preset(
        object({
          events: optional(AGE, 'How long events are kept. Default: for ever.'),
          payloads: optional(AGE, 'How long recorded payloads are kept that have no age of their own under `kinds`. Default: for ever.'),
          kinds: preset(
            object({
              request_bodies: optional(AGE, 'Bodies of HTTP requests.'),
              response_bodies: optional(AGE, 'Bodies of HTTP responses.'),
              rows: optional(AGE, 'What databases answered: rows of results and of `COPY … TO STDOUT`.'),
              copied_rows: optional(AGE, 'Rows of `COPY … FROM STDIN`.'),
            }),
            '{}',
            'How long payloads of a kind are kept, where not as long as `payloads`.',
          ),
          leaves: optional(
            AGE,
            'How long leaves are kept before they are pruned from the front of the log: at least as long as events and payloads of every kind, all of which need an age. Default: for ever.',
          ),
          every: preset(duration('1s', '1d'), '1h', 'From one look for what is due to the next.'),
          clock_bound: preset(
            duration('1m', '365d'),
            '1d',
            'How far the clock may be from what the uptime, stores and witnesses say, and how long the machine may have been off without them: beyond it nothing is deleted until the clock is right again or `sluice retention confirm-clock`.',
          ),
        }),
        '{}',
        'When events and payloads are deleted; their leaves and all proofs stay.',
      ),
      witnesses: preset(
        object({
          quorum: preset(integer(0, 64), '0', 'How many must have cosigned a checkpoint before it is published as witnessed; `0`: all.'),
          interval: preset(duration('100ms', '1h'), '1s', 'From one question to the next.'),
          of: preset(list(witness), '[]', 'The witnesses.'),
        }),
        '{}',
        'Who cosigns checkpoints.',
      ),
      checkpoints: preset(
        object({
          every: preset(duration('1s', '1d'), '1m', 'How often the newest is sent, while the log grows.'),
          to: preset(list(checkpointPlace), '[]', 'Where it is sent.'),
        }),
        '{}',
        'Where checkpoints are sent beside, so that a gateway that was taken over cannot rewrite history unseen.',
      ),
    }),
    '{}',
    'The record.',
  ),
  export: preset(list(destination), '[]', 'Where the record is sent as it grows, for a SIEM: see export.md.'),
  service: preset(
    object({
      check: preset(endpoint, '{}', 'Where Envoy asks.'),
      tap: preset(endpoint, '{}', 'Where Envoy records.'),
      drain: preset(
        duration('0s', '1h'),
        '10s',
        'How long a shutdown waits for what is under way: checks and, under `sluice up`, responses.',
      ),
    }),
    '{}',
    'How Envoy reaches the service.',
  ),
  admin: preset(
    object({
      address: optional(address, 'The admin API over TCP, loopback only, beside its Unix socket in `run/` of the state directory.'),
      auditors: preset(
        list(text('`group:NAME` or `identity:ID`', /^(?:group|identity):[^\p{Cc}]+$/u)),
        '[]',
        'Who may read sessions, as `group:audit`.',
      ),
      custodians: preset(
        list(text('`group:NAME` or `identity:ID`', /^(?:group|identity):[^\p{Cc}]+$/u)),
        '[]',
        'Who may put legal holds on sessions, and take them off.',
      ),
    }),
    '{}',
    'The admin API.',
  ),
  envoy: preset(
    object({
      bin: optional(path('file'), 'The Envoy binary. Default: `ENVOY_BIN`, then `PATH`, then the one that set-up fetched.'),
      concurrency: optional(integer(1, 1024), 'Worker threads. Default: one for each processor.'),
      admin: preset(
        choice('socket', 'off'),
        'socket',
        "Envoy's own admin interface: a Unix socket in `run/` of the state directory, or none.",
      ),
      max_connections: preset(integer(1, 1_000_000), '20000', 'Connections of agents open at once; more are closed at once.'),
      memory_limit: optional(size('64MiB', '1024GiB'), 'Heap at 95 % of which new requests get 503. Default: none.'),
      tls: optional(
        object({
          certificate: required(envoyPath, 'The client certificate that Envoy presents to the service, PEM.'),
          key: required(envoyPath, 'The private key of the client certificate, PEM.'),
          ca: required(envoyPath, "The CA of the service's certificate, PEM."),
          server_name: optional(text('a host name'), "The name verified in the service's certificate. Default: the host of `connect`."),
        }),
        'Towards a service at an `address`.',
      ),
      dir: optional(envoyPath, "Where the generated files are on Envoy's machine. Default: `envoy/` of the state directory."),
      wasm_dir: optional(envoyPath, "Where the filters are on Envoy's machine. Default: beside `wasm`, or where they were built here."),
      wasm: optional(envoyPath, "The file of the HTTP filter on Envoy's machine. Default: `sluice-http.wasm` in `wasm_dir`."),
    }),
    '{}',
    'Envoy itself.',
  ),
  logging: preset(
    object({ level: preset(choice('trace', 'debug', 'info', 'warn', 'error'), 'info', 'The least severe level that is logged.') }),
    '{}',
    'Diagnostics of the service.',
  ),
});

/** The file as it was read: every default filled in, nothing checked across keys. */
export type Document = TypeOf<typeof SCHEMA>;
