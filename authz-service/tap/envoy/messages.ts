/** What the messages of Envoy's that the sink reads have in common. */
import { BYTES, Reader, VARINT, WireError } from '../wire.ts';

/** The tags of fields, by which `read` finds them. */
export const text = (field: number): number => (field << 3) | BYTES;
export const count = (field: number): number => (field << 3) | VARINT;

type Take = Readonly<Record<number, (field: Reader) => void>>;

/** Of one message, those of all that it contains included: a megabyte may have half a million, which would take seconds. Envoy's have some thousands. */
export const MAX_FIELDS = 100_000;
let fieldsLeft = 0;

/**
 * Reads a message of Envoy's. Text that is not UTF-8 is read with U+FFFD in the place of what is wrong: third parties sent it to Envoy.
 *
 * @throws {WireError} when the bytes are no message, or too much of one
 */
export function readMessage(bytes: Uint8Array, take: Take): void {
  fieldsLeft = MAX_FIELDS;
  read(new Reader(bytes, 0, bytes.length, { repaired: false }), take);
}

/** Reads the fields that `take` has, by their tags, and steps over the others. */
export function read(reader: Reader, take: Take): void {
  while (!reader.done) {
    if (--fieldsLeft < 0) throw new WireError('too_large', `more than ${MAX_FIELDS} fields in one message`);
    const tag = reader.tag();
    const taken = take[tag];
    if (taken) taken(reader);
    else reader.skip(tag & 7);
  }
}

/** Of a value that a later Envoy may have: its number. */
export const named = (names: readonly string[], value: number): string => names[value] ?? String(value);

/** A `Timestamp` or a `Duration`. */
export function nanosOf(reader: Reader): bigint {
  let [seconds, nanos] = [0, 0];
  read(reader, { [count(1)]: (field) => (seconds = field.varint()), [count(2)]: (field) => (nanos = field.varint()) });
  // What a fixed64 holds, whatever a clock says.
  return BigInt.asUintN(64, BigInt(seconds) * 1_000_000_000n + BigInt(nanos));
}

/** An `Address`: `IP:port`, the path of a socket, or the listener inside Envoy. */
export function addressOf(reader: Reader): string {
  let address = '';
  read(reader, {
    [text(1)]: (field) => {
      let [host, port] = ['', 0];
      read(field.message(), { [text(2)]: (of) => (host = of.string()), [count(3)]: (of) => (port = of.varint()) });
      address = host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
    },
    [text(2)]: (field) => read(field.message(), { [text(1)]: (path) => (address = path.string()) }),
    [text(3)]: (field) => read(field.message(), { [text(1)]: (listener) => (address = listener.string()) }),
  });
  return address;
}

/** A token of the form of a JWT, which no detector looks for; names of headers come in lower case. */
const JWT = /eyJ[\w-]{8,}\.[\w-]+(?:\.[\w-]*)?/gi;
export const withoutTokens = (text: string): string => text.replace(JWT, '(token)');

/** The path of a request's target, without what may carry secrets beside it: scheme and authority, queries, parameters of segments. */
export const pathOf = (target: string): string =>
  withoutTokens(
    target
      .replace(/^[a-z][a-z0-9+.-]*:\/\/[^/?#]*/i, '')
      .replace(/[?#].*$/s, '')
      .replace(/;[^/]*/g, ''),
  );

/** Host and port, without a user's name and password. */
export const hostOf = (authority: string): string => authority.replace(/^.*@/s, '');
