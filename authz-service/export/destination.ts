/** What a place that events go to must be able to do. One file for each kind of place; `delivery.ts` does the rest. */
import type { Message } from './format.ts';

export type Outcome =
  /** All are there. `state`: kept with the cursor and given back at the next start. */
  | { readonly kind: 'taken'; readonly state?: Readonly<Record<string, number>> }
  /** By position: what was refused, and why; what is to be sent again. The others are there. */
  | { readonly kind: 'partly'; readonly refused: ReadonlyMap<number, string>; readonly again: ReadonlySet<number>; readonly reason: string }
  /** Something in what was sent is not to the receiver's liking, whenever it is sent. */
  | { readonly kind: 'refused'; readonly reason: string }
  /** Not now: the receiver is away, has too much to do, or does not know us. Nothing is wrong with what was sent. */
  | { readonly kind: 'away'; readonly reason: string; readonly retryAfterMs?: number };

export const TAKEN: Outcome = { kind: 'taken' };
export const away = (reason: string, retryAfterMs?: number): Outcome => ({
  kind: 'away',
  reason,
  ...(retryAfterMs !== undefined && { retryAfterMs }),
});
export const refused = (reason: string): Outcome => ({ kind: 'refused', reason });

export interface Destination {
  /** Sends some messages, in order, and resolves when the receiver has said what became of them. Never rejects, and ends when `signal` does. */
  send(messages: readonly Message[], signal: AbortSignal): Promise<Outcome>;
  close(): Promise<void>;
}
