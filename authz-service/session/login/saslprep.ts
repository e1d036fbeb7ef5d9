/** RFC 4013, as PostgreSQL applies it to passwords: what cannot be prepared is used as it is. */

/** RFC 3454 table B.1: mapped to nothing. */
const TO_NOTHING = /[\u00ad\u1806\u200b-\u200d\u2060\ufeff]|\u034f|\u180b|\u180c|\u180d|[\ufe00-\ufe0f]/gu;
/** Table C.1.2: mapped to a space. */
const SPACES = /[\u00a0\u1680\u2000-\u200b\u202f\u205f\u3000]/gu;
/** Tables C.2 to C.9. */
const PROHIBITED =
  /[\p{Cc}\p{Co}\p{Cs}\p{Noncharacter_Code_Point}\u06dd\u070f\u180e\u2028\u2029\u2061-\u2063\u206a-\u206f\ufff9-\ufffd\u2ff0-\u2ffb\u200e\u200f\u202a-\u202e\u{1d173}-\u{1d17a}\u{e0001}\u{e0020}-\u{e007f}]|\u0340|\u0341/u;
const RIGHT_TO_LEFT =
  /[\u0590\u05be\u05c0\u05c3\u05d0-\u05f4\u061b-\u06d5\u06e5\u06e6\u06fa-\u0710\u0712-\u072c\u0780-\u07a5\u07b1\ufb1d-\ufefc]/u;

export function saslPrep(text: string): string {
  if (/^[\x20-\x7e]*$/.test(text)) return text;
  const prepared = text.replace(TO_NOTHING, '').replace(SPACES, ' ').normalize('NFKC');
  if (prepared === '' || PROHIBITED.test(prepared)) return text;
  // Section 6 of RFC 3454: a text that runs both ways is not prepared.
  if (RIGHT_TO_LEFT.test(prepared)) {
    const [first = '', last = ''] = [[...prepared][0], [...prepared].at(-1)];
    if (/[A-Za-z\u00c0-\u024f]/u.test(prepared) || !RIGHT_TO_LEFT.test(first) || !RIGHT_TO_LEFT.test(last)) return text;
  }
  return prepared;
}
