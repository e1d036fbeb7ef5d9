import { rmSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';

/** The filters' way to the sink, which a test can cut while the service itself stays well. */
export class Way {
  #server: Server | undefined;
  readonly #sockets = new Set<Socket>();
  readonly path: string;
  readonly to: string;

  constructor(path: string, to: string) {
    this.path = path;
    this.to = to;
  }

  async open(): Promise<void> {
    rmSync(this.path, { force: true });
    const server = createServer((near) => {
      const far = connect(this.to);
      for (const [from, into] of [
        [near, far],
        [far, near],
      ] as const) {
        this.#sockets.add(from);
        from.on('error', () => into.destroy()).on('close', () => into.destroy());
        from.pipe(into);
      }
    });
    this.#server = server;
    await new Promise<void>((resolve) => server.listen(this.path, resolve));
  }

  cut(): void {
    this.#server?.close();
    for (const socket of this.#sockets) socket.destroy();
    this.#sockets.clear();
  }
}
