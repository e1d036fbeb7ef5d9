// What a masker answers to bytes: OK, or why the response must not go on. AssemblyScript cannot catch, so nothing throws.

import { ByteSink } from './sink';

export const enum Status {
  OK = 0,
  /** Not well formed in its own type: syntax, UTF-8, quoting, trailing bytes. */
  MALFORMED = 1,
  /** A token that must be held while it is examined is longer than the plan's `max_token_bytes`. */
  TOKEN_TOO_LONG = 2,
  /** Objects and arrays nested deeper than `MAX_DEPTH`. */
  TOO_DEEP = 3,
  /** Well formed, but a rule of the plan cannot be applied to it. */
  UNMASKABLE = 4,
  /** A custom pattern took more steps on this text than its budget allows. */
  PATTERN_TOO_COSTLY = 5,
}

/** One English clause per status, for problem documents and tap events; it never quotes the body. */
export function reasonOf(status: Status): string {
  switch (status) {
    case Status.OK:
      return 'ok';
    case Status.MALFORMED:
      return 'the body is not well formed in its content type';
    case Status.TOKEN_TOO_LONG:
      return 'a value is longer than can be held for masking';
    case Status.TOO_DEEP:
      return 'the body is nested too deeply';
    case Status.UNMASKABLE:
      return 'a masking rule cannot be applied to this body';
    case Status.PATTERN_TOO_COSTLY:
      return 'a custom pattern takes too long on this body';
    default:
      return 'unknown masking status';
  }
}

/** One response body on its way through. */
export abstract class Masker {
  /** Takes the next chunk of the body and appends to `out` what is known to be safe. After anything but OK, drop all and call no more. */
  abstract write(ptr: usize, len: i32, out: ByteSink): Status;
  /** The body is complete: appends what was held back. */
  abstract end(out: ByteSink): Status;
}
