/** The filter in the emulator between real clients and a real PostgreSQL, with a door that answers by the text of the statement. */
import { createServer, connect as dial, type Server } from 'node:net';
import { type Answer, type Asked, Vm, type Wire } from './postgres_host.fixture.ts';
import { front, startup } from './postgres_wire.fixture.ts';

export interface Door {
  /** The verdict on a statement; a promise holds it. */
  judge(text: string, asked: Asked): Answer | Promise<Answer>;
}

export class Between {
  readonly vm = new Vm();
  /** The texts that were judged. */
  readonly judged: string[] = [];
  readonly #server: Server;
  readonly #timer: NodeJS.Timeout;
  readonly #wires = new Map<Wire, () => void>();

  private constructor(server: Server) {
    this.#server = server;
    this.#timer = setInterval(() => {
      this.vm.sink.run(20);
      this.#settle();
    }, 20);
  }

  static async start(upstream: { port: number; user: string; password: string; database: string }, door: Door): Promise<Between> {
    const server = createServer();
    const proxy = new Between(server);
    server.on('connection', (client) => {
      const target = dial(upstream.port, '127.0.0.1');
      const wire = proxy.vm.connect();
      const flush = (): void => {
        const [out, back] = [wire.got(), wire.seen()];
        if (out.length > 0) target.write(out);
        if (back.length > 0) client.write(back);
        if (!wire.closed) return;
        client.end();
        target.end();
        proxy.#wires.delete(wire);
      };
      proxy.#wires.set(wire, flush);
      const settle = (): void => proxy.#settle();
      client.setNoDelay().on('data', (bytes) => settle.call(wire.client(bytes as Buffer)));
      target.setNoDelay().on('data', (bytes) => settle.call(wire.target(bytes as Buffer)));
      const end = (): void => {
        flush();
        wire.end();
        proxy.#settle();
        flush();
      };
      client.on('close', end).on('error', () => {});
      target.on('close', end).on('error', () => {});
    });
    proxy.#answer = (asked) => {
      switch (asked.method) {
        case 'Open':
          return { session: 'ses-1', greeting: startup({ user: upstream.user, database: upstream.database, client_encoding: 'UTF8' }) };
        case 'LogIn':
          return { reply: front.password(upstream.password) };
        case 'Cancel':
          return { known: true };
        case 'Judge': {
          const text = String(asked.request.text);
          proxy.judged.push(text);
          return door.judge(text, asked);
        }
        default:
          return {};
      }
    };
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return proxy;
  }

  #answer: (asked: Asked) => Answer | Promise<Answer> = () => ({});
  readonly #holds = new Map<string, Promise<Answer>>();

  get port(): number {
    const address = this.#server.address();
    return typeof address === 'object' && address ? address.port : 0;
  }

  /** Answers what is asked until nothing is, and carries what that lets pass. */
  #settle(): void {
    for (let asked = this.vm.asked.splice(0); asked.length > 0; asked = this.vm.asked.splice(0))
      for (const question of asked) {
        if (!question.open) continue;
        if (question.method === 'Await') {
          void this.#holds.get(String(question.request.approval))?.then((answer) => {
            if (question.open) this.vm.answer(question, answer);
            this.#settle();
          });
          continue;
        }
        const answer = this.#answer(question);
        if (answer instanceof Promise) {
          const approval = `apr-${this.#holds.size + 1}`;
          this.#holds.set(approval, answer);
          this.vm.answer(question, { command: 1, held: { approval, message: `waits for ${approval}`, hint: 'approve it' } });
        } else this.vm.answer(question, answer);
      }
    for (const flush of [...this.#wires.values()]) flush();
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
