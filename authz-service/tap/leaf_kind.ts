/** What a leaf says of its event's kind: the field of `sluice.tap.v1.Event` that holds its body, and of recorded payload which class of it, too (log.proto). */
import { classOf, type PayloadClass, payloadKind } from '../log/leaf.ts';
import { BODIES, type Direction, type Kind, type TapEvent } from './schema.ts';

const NUMBER_OF = Object.fromEntries(Object.entries(BODIES).map(([kind, { number }]) => [kind, number])) as Record<Kind, number>;

/** Of what passes in a direction, as a whole and by a session's commands. */
const PAYLOADS: { readonly [D in Direction]: { readonly whole: PayloadClass; readonly ofCommand: PayloadClass } } = {
  request: { whole: 'request_bodies', ofCommand: 'copied_rows' },
  response: { whole: 'response_bodies', ofCommand: 'rows' },
};

const KIND_OF = new Map<number, Kind>([
  ...Object.entries(NUMBER_OF).map(([kind, number]) => [number, kind as Kind] as const),
  ...Object.values(PAYLOADS).flatMap(({ whole, ofCommand }) =>
    [whole, ofCommand].map((payload) => [payloadKind(payload), 'payload_chunk'] as const),
  ),
]);

/** The kind of body that a leaf's number stands for; `undefined` of one that this version does not know. */
export const kindOf = (number: number): Kind | undefined => KIND_OF.get(number);

/** The number that the leaf of an event has. */
export const leafKindOf = ({ body, command = 0 }: Pick<TapEvent, 'body' | 'command'>): number => {
  if (body.kind !== 'payload_chunk') return NUMBER_OF[body.kind];
  const { whole, ofCommand } = PAYLOADS[body.direction];
  return payloadKind(command === 0 ? whole : ofCommand);
};

/** The same, or that of a version before, which told no payload from another. */
export const isLeafKindOf = (number: number, event: Pick<TapEvent, 'body' | 'command'>): boolean =>
  number === NUMBER_OF[event.body.kind] || number === leafKindOf(event);

/** Which payload it is, as its leaf says; `undefined`: none, or the leaf does not tell. */
export const payloadOf = (number: number): PayloadClass | undefined => {
  const detailClass = classOf(number);
  return detailClass === 'events' || detailClass === 'payloads' ? undefined : detailClass;
};
