/** What the messages of Envoy's that the sink reads have in common. */
import { BYTES, type Reader, VARINT } from '../wire.ts';

/** The tags of fields, by which `read` finds them. */
export const text = (field: number): number => (field << 3) | BYTES;
export const count = (field: number): number => (field << 3) | VARINT;

/** Reads the fields that `take` has, by their tags, and steps over the others. */
export function read(reader: Reader, take: Readonly<Record<number, (field: Reader) => void>>): void {
  while (!reader.done) {
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
