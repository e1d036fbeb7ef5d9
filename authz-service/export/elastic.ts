/**
 * Elasticsearch and OpenSearch: `_bulk` with `create`, whose `_id` is the event's. A repeat is answered by 409 and stays what it was. In a data stream
 * that holds within the index that is written to: after a rollover an id may come once more.
 */
import { away, type Outcome, TAKEN } from './destination.ts';
import type { Message } from './format.ts';
import { type Answer, type HttpKind, jsonOf } from './http.ts';

interface Item {
  readonly create?: { readonly status?: number; readonly error?: { readonly type?: string; readonly reason?: string } };
}

const ALREADY_THERE = 409;

export const elastic = (index: string): HttpKind => ({
  path: `/${encodeURIComponent(index)}/_bulk?filter_path=errors,items.*.status,items.*.error.type,items.*.error.reason`,
  contentType: 'application/x-ndjson',
  encode: (messages) =>
    messages
      .map(({ id, json, unixNanos }) => {
        const at = new Date(Number(unixNanos / 1_000_000n)).toISOString();
        // Data streams ask for `@timestamp`, in this notation.
        return `{"create":{"_id":${JSON.stringify(id)}}}\n{"@timestamp":"${at}",${json.slice(1)}\n`;
      })
      .join(''),
  accepted: judged,
});

function judged(answer: Answer, messages: readonly Message[]): Outcome {
  const { errors, items } = (jsonOf(answer) ?? {}) as { readonly errors?: boolean; readonly items?: readonly Item[] };
  if (errors === false) return TAKEN;
  if (!Array.isArray(items) || items.length !== messages.length) return away('the answer to _bulk is none');
  const refused = new Map<number, string>();
  const again = new Set<number>();
  let reason = '';
  for (const [at, item] of (items as readonly Item[]).entries()) {
    const { status = 0, error } = item?.create ?? {};
    if ((status >= 200 && status < 300) || status === ALREADY_THERE) continue;
    const said = `${status} ${error?.type ?? ''} ${error?.reason ?? ''}`.trim().slice(0, 300);
    if (status === 400 || status === 413) refused.set(at, said);
    else {
      again.add(at);
      reason = said;
    }
  }
  return refused.size + again.size === 0 ? TAKEN : { kind: 'partly', refused, again, reason: reason || 'some events were refused' };
}
