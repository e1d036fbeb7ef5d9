/** Requests without end through a gateway that comes and goes, legal holds on some of their sessions, and what was answered. */
import type { RequestListener } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Sluice } from '../e2e/sluice.fixture.ts';
import type { Random } from '../fuzz/random.ts';

/** A request that its client saw answered with 2xx. */
export interface Answered {
  readonly session: string;
  /** Before it was sent. */
  readonly at: number;
  /** What the client got, where that is recorded. */
  readonly body: string | undefined;
  /** The Envoy that it went through lives, and tells its end. */
  told: boolean;
  held: boolean;
}

const CLIENTS = 6;
const ADDED = '{"text":"a note","password":"hunter2"}';

/** The target: as many bytes as a ticket's number says, what is posted, and json-server's customers. */
export const tickets = (...[{ method, url = '' }, response]: Parameters<RequestListener>): boolean => {
  const [, bytes] = /^\/tickets\/(\d+)$/.exec(url) ?? [];
  if (bytes === undefined && method !== 'POST') return false;
  response.writeHead(method === 'POST' ? 201 : 200, { 'content-type': 'application/json' });
  response.end(JSON.stringify({ text: 'x'.repeat(Number(bytes ?? 1)), ssn: '536-22-8134' }));
  return true;
};

export class Load {
  readonly answered = new Map<string, Answered>();
  readonly counts = { requests: 0, answered: 0, holds: 0, holds_released: 0 };
  readonly #sluice: Sluice;
  readonly #random: Random;
  readonly #running: Promise<unknown>;
  /** How many clients ask, and how long each waits between at most, milliseconds. */
  #active = 1;
  #pauseMs = 50;
  #over = false;

  constructor(sluice: Sluice, random: Random) {
    this.#sluice = sluice;
    this.#random = random;
    this.#running = Promise.all([...Array.from({ length: CLIENTS }, (_, n) => this.#client(n)), this.#custodian()]);
  }

  /** All clients at once keep sessions open at each moment; one that waits lets leaves be pruned between them. */
  change(moments: Random): void {
    this.#active = moments.pick([1, 1, 2, CLIENTS]);
    this.#pauseMs = moments.pick([5, 20, 80]);
  }

  async stop(): Promise<void> {
    this.#over = true;
    await this.#running;
  }

  async #client(n: number): Promise<void> {
    for (; !this.#over; await sleep(this.#random.below(this.#pauseMs))) {
      if (n >= this.#active) continue;
      const at = Date.now();
      const bytes = this.#random.below(this.#random.pick([100, 100_000]));
      const path = this.#random.pick(['/customers', '/customers/1', '/tickets', `/tickets/${bytes}`]);
      this.counts.requests += 1;
      const { status, headers, text, cut } = await this.#ask(path);
      const session = headers['x-sluice-session'];
      if (!(status >= 200 && status < 300) || session === undefined) {
        await sleep(50);
        continue;
      }
      this.counts.answered += 1;
      const body = path.startsWith('/tickets') ? text : undefined;
      this.answered.set(String(session), { session: String(session), at, body, told: !cut, held: false });
    }
  }

  async #ask(path: string) {
    const post = path === '/tickets' && { method: 'POST', body: ADDED, headers: { 'content-type': 'application/json' } };
    const ask = { ...post, token: await this.#sluice.token(), signal: AbortSignal.timeout(20_000) };
    return await this.#sluice.ask(path, ask).catch(() => ({ status: 0, headers: {} as Record<string, unknown>, text: '', cut: true }));
  }

  /** Puts holds on the newest sessions, and takes each off in its time; what was not answered is asked again. */
  async #custodian(): Promise<void> {
    const holds: { readonly session: string; readonly until: number }[] = [];
    for (; !this.#over; await sleep(500 + this.#random.below(3_000))) {
      const due = holds.find(({ until }) => until < Date.now());
      if (due !== undefined) {
        const of = this.answered.get(due.session);
        if (of) of.held = false;
        const status = await this.#hold(due.session, 'release');
        if (status === 200) this.counts.holds_released += 1;
        if (status === 200 || status === 404) holds.splice(holds.indexOf(due), 1);
      }
      const newest = [...this.answered.values()].at(-1);
      if (newest === undefined || newest.held || holds.length > 3 || Date.now() - newest.at > 20_000) continue;
      holds.push({ session: newest.session, until: Date.now() + 1_000 * (10 + this.#random.below(110)) });
      if ((await this.#hold(newest.session, 'add')) !== 200) continue;
      newest.held = true;
      this.counts.holds += 1;
    }
  }

  async #hold(session: string, change: 'add' | 'release'): Promise<number> {
    const token = await this.#sluice.approver('lee', ['legal']);
    const reply = this.#sluice.admin('POST', `/v1/legal-holds/${session}`, token, { change, reason: 'case 7' });
    return (await reply.catch(() => ({ status: 0 }))).status;
  }
}
