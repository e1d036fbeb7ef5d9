/** How long each class of what is recorded is kept, as the configuration says it. */
import type { Config } from '../config/config.ts';
import type { DetailClass, PayloadClass } from '../log/leaf.ts';

/** Milliseconds; `undefined`: for ever. */
export type Ages = { readonly [C in DetailClass]: number | undefined };

type RetentionConfig = Pick<Config['tap']['retention'], 'eventsMs' | 'payloadsMs' | 'kinds'>;

const KEYS = {
  request_bodies: 'requestBodiesMs',
  response_bodies: 'responseBodiesMs',
  rows: 'rowsMs',
  copied_rows: 'copiedRowsMs',
} as const satisfies { readonly [P in Exclude<PayloadClass, 'payloads'>]: keyof RetentionConfig['kinds'] };

/** Payload of which the record does not tell what it is may be any of it, and is kept as long as the longest. */
export const agesOf = ({ eventsMs, payloadsMs, kinds }: RetentionConfig): Ages => {
  const own = Object.fromEntries(Object.entries(KEYS).map(([kind, key]) => [kind, kinds[key] ?? payloadsMs])) as {
    readonly [P in keyof typeof KEYS]: number | undefined;
  };
  const longest = Math.max(...[payloadsMs, ...Object.values(own)].map((age) => age ?? Number.POSITIVE_INFINITY));
  return { events: eventsMs, payloads: longest === Number.POSITIVE_INFINITY ? undefined : longest, ...own };
};
