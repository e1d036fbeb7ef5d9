/** One request and its answer: a stream of HTTP/2, as whoever answers it sees it. */

/** What the connection does of an answer. */
export interface Answers {
  answer(id: number, exchange: Exchange, head: Buffer): void;
  refuse(id: number, exchange: Exchange, head: Buffer): void;
}

export const STREAM_WINDOW = 1 << 20;
export const NOTHING = Buffer.alloc(0);

export class Exchange {
  readonly path: string;
  readonly contentType: string;
  readonly #answers: Answers;
  readonly #id: number;
  /** The request has not ended. */
  receiving = true;
  /** What has come of the body: most often all of it in one piece. */
  first: Buffer | undefined;
  more: Buffer[] | undefined;
  size = 0;
  /** What the peer may still send, and what it still takes. */
  receiveWindow = STREAM_WINDOW;
  sendWindow: number;
  /** What of the answer waits for the peer's windows, and the fields behind it. */
  rest: Uint8Array = NOTHING;
  trailers: Buffer = NOTHING;
  #answered = false;
  #over = false;
  #gone: (() => void)[] | undefined;

  constructor(answers: Answers, id: number, sendWindow: number, path: string, contentType: string) {
    this.#answers = answers;
    this.#id = id;
    this.sendWindow = sendWindow;
    this.path = path;
    this.contentType = contentType;
  }

  /** Whether nothing has been answered yet and somebody waits for it. */
  get open(): boolean {
    return !this.#answered && !this.#over;
  }

  /** Fields, the body, and the fields behind it. Nothing when the exchange is not open any more. */
  answer(head: Buffer, body: Uint8Array, trailers: Buffer): void {
    if (!this.open) return;
    this.#answered = true;
    this.rest = body;
    this.trailers = trailers;
    this.#answers.answer(this.#id, this, head);
  }

  /** Fields alone. */
  refuse(head: Buffer): void {
    if (!this.open) return;
    this.#answered = true;
    this.#answers.refuse(this.#id, this, head);
  }

  /** Calls back once, if the peer gives it up before it is answered. */
  onGone(callback: () => void): void {
    if (this.open) (this.#gone ??= []).push(callback);
    else if (this.#over && !this.#answered) callback();
  }

  /** The peer gives it up, or the connection has ended. */
  end(): void {
    if (this.#over) return;
    this.#over = true;
    if (!this.#answered) for (const callback of this.#gone ?? []) callback();
  }
}
