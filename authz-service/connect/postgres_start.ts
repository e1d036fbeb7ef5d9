/** How a PostgreSQL client begins (protocol 3, https://www.postgresql.org/docs/current/protocol-flow.html), as far as a connector on loopback has to know. */

/** What a client's bytes so far come to. */
export type Start =
  | { readonly kind: 'more' }
  /** It would like encryption, which this side of the connector has not: answer `N`, drop the bytes, go on. */
  | { readonly kind: 'encryption'; readonly length: number }
  /** A `StartupMessage` or a `CancelRequest`: the target's to read, whole. */
  | { readonly kind: 'whole' }
  | { readonly kind: 'wrong'; readonly message: string };

const [CANCEL, SSL, GSSENC] = [80_877_102, 80_877_103, 80_877_104];
/** As PostgreSQL itself has it. */
const MAX_START_BYTES = 10_000;
const MORE: Start = { kind: 'more' };

export function readStart(bytes: Buffer): Start {
  if (bytes.length < 8) return MORE;
  const [length, code] = [bytes.readUInt32BE(0), bytes.readUInt32BE(4)];
  if (code === SSL || code === GSSENC)
    return length === 8 && bytes.length === 8
      ? { kind: 'encryption', length }
      : { kind: 'wrong', message: 'bytes follow a request for encryption before its answer' };
  if (code !== CANCEL && code >>> 16 !== 3)
    return { kind: 'wrong', message: 'this is not the beginning of a PostgreSQL connection, version 3' };
  if (length < 9 || length > MAX_START_BYTES) return { kind: 'wrong', message: 'the first message has an invalid length' };
  return bytes.length < length ? MORE : { kind: 'whole' };
}

/** Why there is no session, in the client's protocol. */
export interface FatalError {
  /** SQLSTATE. */
  readonly code: string;
  readonly message: string;
  readonly detail?: string;
  readonly hint?: string;
}

/** An `ErrorResponse` of severity FATAL, whole. */
export function fatal({ code, message, detail, hint }: FatalError): Buffer {
  const fields = [
    ['S', 'FATAL'],
    ['V', 'FATAL'],
    ['C', code],
    ['M', message],
    ['D', detail],
    ['H', hint],
  ].flatMap(([field, value]) => (value ? [`${field}${value.replace(/\p{Cc}/gu, '?')}\0`] : []));
  const body = Buffer.from(`${fields.join('')}\0`);
  const head = Buffer.alloc(5, 'E');
  head.writeUInt32BE(4 + body.length, 1);
  return Buffer.concat([head, body]);
}
