/** `sluice verify --watch`: the log verified again and again, on another machine than the gateway's, told to Prometheus. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { Counter, Gauge, Registry } from 'prom-client';
import type { ContinuedReport } from '../verify/continued.ts';
import { inWords, type Report } from '../verify/report.ts';
import { CommandError, complain, say } from './command.ts';

const VERDICTS = ['verified', 'incomplete', 'failed', 'unreadable'] as const;
type Verdict = (typeof VERDICTS)[number];

const verdictOf = ({ verified, complete }: Report): Verdict => {
  if (!verified) return 'failed';
  return complete ? 'verified' : 'incomplete';
};

export interface Watching {
  /** Rejects with a `CommandError` when the log cannot be read. */
  readonly verify: () => Promise<ContinuedReport>;
  /** From the end of one verification to the next, milliseconds. */
  readonly everyMs: number;
  /** Where metrics are served; `undefined`: nowhere. */
  readonly metrics: { readonly host: string; readonly port: number } | undefined;
  /** Ends it. */
  readonly signal: AbortSignal;
  /** Told the port that metrics are served at. */
  readonly onListening?: (port: number) => void;
}

/** @returns what the last one has found; the first one, when nothing can be listened on, rejects with a `CommandError` */
export const watch = async ({ verify, everyMs, metrics, signal, onListening = () => {} }: Watching): Promise<Verdict> => {
  const told = new Told();
  const server = metrics && (await serve(told, metrics));
  if (server !== undefined) onListening((server.address() as AddressInfo).port);
  let verdict: Verdict = 'unreadable';
  try {
    while (!signal.aborted) {
      verdict = await told.round(verify);
      await sleep(everyMs, undefined, { signal }).catch(() => {});
    }
    return verdict;
  } finally {
    server?.closeAllConnections();
    server?.close();
  }
};

const serve = async (told: Told, { host, port }: { readonly host: string; readonly port: number }) => {
  const server = createServer(async (request, response) => {
    if (request.method !== 'GET' || request.url !== '/metrics') return void response.writeHead(404).end();
    response.writeHead(200, { 'content-type': told.registry.contentType }).end(await told.registry.metrics());
  });
  try {
    server.listen(port, host);
    await once(server, 'listening');
    return server;
  } catch (error) {
    throw new CommandError(`Nothing can be served at ${host}:${port}: ${(error as Error).message}`);
  }
};

/** What the verifications have found, as metrics. */
class Told {
  readonly registry = new Registry();
  readonly #runs = new Counter({
    ...this.#of('sluice_verify_runs_total', 'Verifications, by what they found.'),
    labelNames: ['verdict'],
  });
  readonly #ok = new Gauge(
    this.#of('sluice_verify_ok', 'Whether the record was verified and complete when it could last be read; 1 before the first time.'),
  );
  readonly #leaves = new Gauge(
    this.#of('sluice_verify_verified_leaves', 'How many leaves the last record had that was verified and complete.'),
  );
  readonly #at = new Gauge(
    this.#of('sluice_verify_verified_timestamp_seconds', 'When the record was last verified and complete; 0: it never was.'),
  );
  readonly #wholeAt = new Gauge(
    this.#of('sluice_verify_whole_timestamp_seconds', 'When everything was last read and the record was verified and complete; 0: never.'),
  );
  readonly #missing = new Gauge(this.#of('sluice_verify_unexplained_events', 'Events that are missing, and nothing records why.'));
  readonly #seconds = new Gauge(this.#of('sluice_verify_duration_seconds', 'How long the last verification took.'));

  constructor() {
    for (const verdict of VERDICTS) this.#runs.inc({ verdict }, 0);
    this.#ok.set(1);
  }

  #of(name: string, help: string) {
    return { name, help, registers: [this.registry] };
  }

  async round(verify: Watching['verify']): Promise<Verdict> {
    const { verdict, report } = await this.#verdict(verify);
    const at = new Date();
    this.#runs.inc({ verdict });
    if (report !== undefined) {
      this.#ok.set(verdict === 'verified' ? 1 : 0);
      this.#missing.set(report.missing.unexplained);
      this.#seconds.set(report.seconds);
    }
    if (report === undefined || verdict !== 'verified') return verdict;
    this.#leaves.set(report.size);
    this.#at.set(at.getTime() / 1000);
    if (report.whole) this.#wholeAt.set(at.getTime() / 1000);
    const what = report.whole ? 'verified' : 'verified what is new';
    say(`${at.toISOString()} ${what}, ${report.level}: ${report.size.toLocaleString('en')} leaves in ${report.seconds.toFixed(1)} s`);
    return verdict;
  }

  async #verdict(verify: Watching['verify']): Promise<{ readonly verdict: Verdict; readonly report?: ContinuedReport }> {
    try {
      const report = await verify();
      const verdict = verdictOf(report);
      if (verdict !== 'verified') say(`${new Date().toISOString()} ${inWords(report)}`);
      return { verdict, report };
    } catch (error) {
      if (!(error instanceof CommandError)) throw error;
      complain(`${new Date().toISOString()} ${error.message}`);
      return { verdict: 'unreadable' };
    }
  }
}
