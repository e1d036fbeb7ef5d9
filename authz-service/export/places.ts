/** Every kind of place that events go to: one row each. What is configured travels to the worker as plain values; secrets are read there. */
import type { SecretSource } from '../credential/secret_source.ts';
import type { Destination } from './destination.ts';
import { elastic } from './elastic.ts';
import { FileDestination } from './file.ts';
import { HttpDestination, type HttpKind } from './http.ts';
import { loki } from './loki.ts';
import { otlp } from './otlp.ts';
import { credential, type SecretHeader, type TlsConfig, tlsFiles } from './secrets.ts';
import { splunk } from './splunk.ts';
import { SyslogDestination } from './syslog.ts';
import { webhook } from './webhook.ts';

interface Web {
  readonly url: string;
  /** Headers that hold a secret, by name. */
  readonly headers: Readonly<Record<string, SecretHeader>>;
  readonly tls: TlsConfig;
  readonly gzip: boolean;
}

export type Place =
  | { readonly type: 'file'; readonly path: string }
  | {
      readonly type: 'syslog';
      readonly host: string;
      readonly port: number;
      readonly tls: TlsConfig | undefined;
      readonly facility: number;
      readonly hostname: string;
    }
  | (Web & {
      readonly type: 'splunk';
      readonly token: SecretSource;
      readonly index: string | undefined;
      readonly sourcetype: string;
      readonly acknowledge: boolean;
    })
  | (Web & { readonly type: 'elastic'; readonly index: string })
  | (Web & { readonly type: 'webhook' })
  | (Web & { readonly type: 'loki'; readonly labels: Readonly<Record<string, string>>; readonly tenant: string | undefined })
  | (Web & { readonly type: 'otlp'; readonly attributes: Readonly<Record<string, string>> });

export interface Opening {
  readonly timeoutMs: number;
  /** Sluice's version. */
  readonly version: string;
  /** What the destination left with its cursor. */
  readonly state: Readonly<Record<string, number>> | undefined;
}

export function openDestination(place: Place, { timeoutMs, version, state }: Opening): Destination {
  const web = (of: Web, kind: HttpKind, headers: Web['headers'] = {}): Destination =>
    new HttpDestination(
      { url: of.url, headers: credential({ ...of.headers, ...headers }), tls: tlsFiles(of.tls), timeoutMs, gzip: of.gzip },
      kind,
    );
  switch (place.type) {
    case 'file':
      return new FileDestination(place.path, state);
    case 'syslog':
      return new SyslogDestination({ ...place, timeoutMs, tls: place.tls && tlsFiles(place.tls) });
    case 'splunk':
      return web(place, splunk({ ...place, withinMs: timeoutMs }), { authorization: { prefix: 'Splunk ', source: place.token } });
    case 'elastic':
      return web(place, elastic(place.index));
    case 'webhook':
      return web(place, webhook);
    case 'loki':
      return web(place, loki(place.labels, place.tenant));
    case 'otlp':
      return web(place, otlp(version, place.attributes));
  }
}
