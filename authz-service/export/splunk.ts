/**
 * Splunk's HTTP Event Collector. With `acknowledge`, an event counts when the indexers have it: the collector's own answer says no more than that it is in a
 * queue. Splunk keeps repeats; their `event_id` is an indexed field.
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { away, type Outcome, refused, TAKEN } from './destination.ts';
import type { Message } from './format.ts';
import { type Answer, type HttpKind, isAnswer, jsonOf, type Post } from './http.ts';

export interface SplunkOptions {
  readonly index: string | undefined;
  readonly sourcetype: string;
  readonly acknowledge: boolean;
  /** Milliseconds in which the indexers must have an event. */
  readonly withinMs: number;
}

const ASK_EVERY_MS = 250;

interface Said {
  readonly ackId?: number;
  readonly 'invalid-event-number'?: number;
  readonly text?: string;
}

export function splunk({ index, sourcetype, acknowledge, withinMs }: SplunkOptions): HttpKind {
  // Acknowledgements are kept for each channel: ours alone.
  const channel = randomUUID();
  const headers = { 'x-splunk-request-channel': channel };

  async function indexed(answer: Answer, _: readonly Message[], post: Post, signal: AbortSignal): Promise<Outcome> {
    const { ackId } = (jsonOf(answer) ?? {}) as Said;
    if (!acknowledge) return TAKEN;
    if (typeof ackId !== 'number') return away('the collector gives no acknowledgements: its token has indexer acknowledgement off');
    for (const end = Date.now() + withinMs; Date.now() < end && !signal.aborted; ) {
      const asked = await post(
        `/services/collector/ack?channel=${channel}`,
        { ...headers, 'content-type': 'application/json' },
        JSON.stringify({ acks: [ackId] }),
        signal,
      );
      if (!isAnswer(asked)) return asked;
      const { acks } = (jsonOf(asked) ?? {}) as { acks?: Record<string, boolean> };
      if (acks?.[String(ackId)] === true) return TAKEN;
      await sleep(ASK_EVERY_MS);
    }
    return away('the indexers did not acknowledge in time');
  }

  return {
    path: '/services/collector/event',
    contentType: 'application/json',
    headers: () => (acknowledge ? headers : ({} as Record<string, string>)),
    encode: (messages) =>
      messages
        .map(({ id, json, unixNanos }) => {
          const time = `${unixNanos / 1_000_000_000n}.${String((unixNanos / 1_000_000n) % 1000n).padStart(3, '0')}`;
          const where = index === undefined ? '' : `"index":${JSON.stringify(index)},`;
          return `{"time":${time},"source":"sluice","sourcetype":${JSON.stringify(sourcetype)},${where}"fields":{"event_id":${JSON.stringify(id)}},"event":${json}}`;
        })
        .join('\n'),
    accepted: indexed,
    otherwise: (answer, messages) => {
      const at = ((jsonOf(answer) ?? {}) as Said)['invalid-event-number'];
      if (answer.status !== 400) return undefined;
      if (typeof at !== 'number' || messages.length === 1) return refused(`400 ${answer.body.slice(0, 200)}`);
      // Which of the others it has kept is not certain: they come again.
      const again = new Set([...messages.keys()].filter((n) => n !== at));
      return at < messages.length
        ? { kind: 'partly', refused: new Map([[at, `400 ${answer.body.slice(0, 200)}`]]), again, reason: 'an event among them was refused' }
        : refused(`400 ${answer.body.slice(0, 200)}`);
    },
  };
}
