/** Any receiver of HTTP: one JSON object a line. The id of each event is in it; of the request, in a header. */
import type { HttpKind } from './http.ts';

export const webhook: HttpKind = {
  path: '',
  contentType: 'application/x-ndjson',
  // The same events are the same request, also when it comes again.
  headers: (messages) => ({ 'idempotency-key': `${messages[0]?.id}-${messages.at(-1)?.index}` }),
  encode: (messages) => messages.map(({ json }) => `${json}\n`).join(''),
};
