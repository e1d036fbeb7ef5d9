/** Loki's push API, which others speak too. A repeat has the same labels, time and line: Loki keeps one of them. */
import type { HttpKind } from './http.ts';

export const loki = (labels: Readonly<Record<string, string>>, tenant?: string): HttpKind => ({
  path: '/loki/api/v1/push',
  contentType: 'application/json',
  headers: () => (tenant === undefined ? ({} as Record<string, string>) : { 'x-scope-orgid': tenant }),
  encode: (messages) => {
    const values = messages.map(({ id, kind, json, unixNanos }) => [String(unixNanos), json, { event_id: id, event_kind: kind }]);
    return JSON.stringify({ streams: [{ stream: labels, values }] });
  },
});
