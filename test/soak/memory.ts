/** Resident memory of Envoy and the service over a long run, and whether it stayed flat. */
import { rounded } from '../bench/figures.ts';
import type { Bench } from '../bench/postgres.ts';
import { residentBytesOf } from '../bench/processes.ts';

/** What Envoy may have more at the end than after a third. Its own allocator gives and takes a little. */
const ENVOY_SLACK = 8_000_000;
/** What the service may: its collector of garbage lets it swing. */
const SERVICE_SLACK = 96_000_000;

export class Memory {
  readonly #bench: Bench;
  readonly #envoy: number[] = [];
  readonly #service: number[] = [];

  constructor(bench: Bench) {
    this.#bench = bench;
    this.sample();
  }

  sample(): void {
    this.#envoy.push(residentBytesOf(this.#bench.sluice.envoy.pid));
    this.#service.push(residentBytesOf(this.#bench.sluice.servicePid));
  }

  /** In MB, before and in even steps until the end. */
  told() {
    const mb = (samples: readonly number[]): number[] => samples.map((bytes) => rounded(bytes / 1e6));
    return { flat: this.#flat, envoy_rss_mb: mb(this.#envoy), service_rss_mb: mb(this.#service) };
  }

  get #flat(): boolean {
    return grown(this.#envoy) <= ENVOY_SLACK && grown(this.#service) <= SERVICE_SLACK;
  }
}

/** From the highest of the second third to the highest of the last one: the first third warms up. */
function grown(samples: readonly number[]): number {
  const third = Math.max(1, Math.floor(samples.length / 3));
  return Math.max(...samples.slice(-third)) - Math.max(...samples.slice(0, 1), ...samples.slice(third, -third));
}

export function told(result: { readonly name: string; readonly held: boolean } & Record<string, unknown>): void {
  process.stdout.write(`${JSON.stringify(result, null, process.argv.includes('--json') ? 0 : 2)}\n`);
  process.exitCode = result.held ? 0 : 1;
}
