// The shapes of the target's short messages. One that has another is not passed on: what it holds is not what its type says.
import { Back, be16, textLength } from './frame';

/** So many texts fill the span. */
function isTexts(p: usize, end: usize, count: i32): bool {
  for (; count; count--) {
    const n = textLength(p, end);
    if (n < 0) return false;
    p += n + 1;
  }
  return p == end;
}

/** Whether a body is one of that type, as far as its length tells. Rows, descriptions and reports are read by their own files. */
export function isWellFormed(type: u32, p: usize, length: u32): bool {
  const end = p + length;
  switch (type) {
    case Back.PARSE_COMPLETE:
    case Back.BIND_COMPLETE:
    case Back.CLOSE_COMPLETE:
    case Back.NO_DATA:
    case Back.PORTAL_SUSPENDED:
    case Back.EMPTY_QUERY_RESPONSE:
    case Back.COPY_DONE:
      return length == 0;
    case Back.READY_FOR_QUERY:
      return length == 1;
    case Back.COMMAND_COMPLETE:
      return isTexts(p, end, 1);
    case Back.PARAMETER_STATUS:
      return isTexts(p, end, 2);
    case Back.NOTIFICATION_RESPONSE:
      return length > 4 && isTexts(p + 4, end, 2);
    case Back.PARAMETER_DESCRIPTION:
      return length >= 2 && length == 2 + (be16(p) << 2);
    case Back.COPY_IN_RESPONSE:
    case Back.COPY_OUT_RESPONSE:
      return length >= 3 && length == 3 + (be16(p + 1) << 1);
    default:
      return true;
  }
}
