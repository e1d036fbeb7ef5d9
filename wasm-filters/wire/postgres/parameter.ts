// ParameterStatus: a setting of the target's, as the client hears of it.
import { utf8 } from '../../abi/bytes';

const CLIENT_ENCODING = utf8('client_encoding'),
  UTF8 = utf8('UTF8'),
  CONFORMING = utf8('standard_conforming_strings'),
  ON = utf8('on');
/** Settings whose values are words and numbers of the server's own; any other could carry a text that a statement has put into it. */
const ENUMERATED = [
  'client_encoding',
  'DateStyle',
  'default_transaction_read_only',
  'in_hot_standby',
  'integer_datetimes',
  'IntervalStyle',
  'is_superuser',
  'scram_iterations',
  'server_encoding',
  'server_version',
  'standard_conforming_strings',
];

function startsWithText(p: usize, length: u32, text: ArrayBuffer): bool {
  const n = <u32>text.byteLength;
  return length > n && memory.compare(p, changetype<usize>(text), n) == 0 && load<u8>(p + n) == 0;
}

/** Whether texts still mean what they were judged to mean. `p`: the message's body. */
export function understandable(p: usize, length: u32): bool {
  for (let i = 0; i < 2; i++) {
    const name = i ? CONFORMING : CLIENT_ENCODING,
      value = i ? ON : UTF8;
    if (!startsWithText(p, length, name)) continue;
    const at = <u32>name.byteLength + 1;
    return startsWithText(p + at, length - at, value);
  }
  return true;
}

export function isEnumerated(p: usize, length: u32): bool {
  for (let i = 0; i < ENUMERATED.length; i++) if (startsWithText(p, length, utf8(ENUMERATED[i]))) return true;
  return false;
}
