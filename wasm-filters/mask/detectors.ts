// The built-in detectors. Each scans a folded text for its next match, looks at most `reach` bytes ahead of where that begins, one past
// its end and two before its start, and crosses no line end; streaming relies on all three.

/** How a match is written before it is hashed, so that the same thing written otherwise gives the same token. */
export const enum Normal {
  AS_IS,
  DIGITS,
  ALPHANUMERIC,
  LOWER,
}

/**
 * `(text, length, at, whole)`: the start of the first match at or past `at`, or -1; its end goes into `matchEnd`.
 * `whole` says that the text is one complete value (a JSON string, a field), not a piece of prose.
 */
type Scan = (text: usize, length: i32, at: i32, whole: bool) => i32;

export class Detector {
  constructor(
    public name: string,
    /** The longest match, in folded bytes. */
    public reach: u32,
    /** No text with fewer digits has a match. */
    public digits: i32,
    /** Nor one without `@`. */
    public at: bool,
    public normal: Normal,
    public scan: Scan,
  ) {}
}

export let matchEnd: i32 = 0;

function isDigit(b: u32): bool {
  return b - 0x30 < 10;
}
function isLetter(b: u32): bool {
  return (b | 0x20) - 0x61 < 26;
}
function isAlphanumeric(b: u32): bool {
  return isDigit(b) || isLetter(b);
}
/** A plus is how the query of an address writes a space. */
function isSeparator(b: u32): bool {
  return b == 0x20 || b == 0x2d || b == 0x2b;
}
function at(text: usize, i: i32): u32 {
  return <u32>load<u8>(text + i);
}
function digitAt(text: usize, length: i32, i: i32): bool {
  return i >= 0 && i < length && isDigit(at(text, i));
}
function alphanumericAt(text: usize, length: i32, i: i32): bool {
  return i >= 0 && i < length && isAlphanumeric(at(text, i));
}

/** Digits gathered from a candidate, as values 0–9. */
const digits = memory.data(40);
/** Past the n-th of them, from the candidate's start. */
const ends = memory.data(40);

/** The first digit at or past `i`, or `length`. */
function nextDigit(text: usize, length: i32, i: i32): i32 {
  const zero = i8x16.splat(0x30),
    ten = i8x16.splat(10);
  for (; i + 16 <= length; i += 16) {
    const hits = i8x16.bitmask(i8x16.lt_u(i8x16.sub(v128.load(text + i), zero), ten));
    if (hits) return i + ctz(hits);
  }
  while (i < length && !isDigit(at(text, i))) i++;
  return i;
}

/** The first digit past the digits at `i` that others come between, or `length`. */
function nextRun(text: usize, length: i32, i: i32): i32 {
  while (i < length && isDigit(at(text, i))) i++;
  return nextDigit(text, length, i);
}

/** The number of the first `n` gathered digits. */
function prefix(n: i32): u32 {
  let value: u32 = 0;
  for (let i = 0; i < n; i++) value = value * 10 + load<u8>(digits + i);
  return value;
}

/** Bit n is set when an issuer that owns this prefix has card numbers of n digits (ISO/IEC 7812; the networks' published ranges). */
function cardLengths(): u32 {
  const first = prefix(1),
    two = prefix(2),
    three = prefix(3),
    four = prefix(4);
  const L15: u32 = 1 << 15,
    L16: u32 = 1 << 16,
    TO_19: u32 = L16 | (1 << 17) | (1 << 18) | (1 << 19),
    FROM_14: u32 = TO_19 | L15 | (1 << 14),
    FROM_13: u32 = FROM_14 | (1 << 13);
  if (first == 4) return (1 << 13) | L16 | (1 << 18) | (1 << 19); // Visa
  if (two >= 51 && two <= 55) return L16; // Mastercard
  if (four >= 2221 && four <= 2720) return L16; // Mastercard, 2-series
  if (four >= 2200 && four <= 2204) return TO_19; // Mir
  if (two == 34 || two == 37) return L15; // American Express
  if ((three >= 300 && three <= 305) || three == 309 || two == 36 || two == 38 || two == 39) return FROM_14; // Diners Club
  if (four == 2131 || four == 1800) return L15 | L16; // JCB
  if (four >= 3528 && four <= 3589) return TO_19; // JCB
  if (two == 81) return FROM_14; // UnionPay
  if (two == 82 || four == 9792) return L16; // RuPay, Troy
  if (first == 6 || two == 50 || (two >= 56 && two <= 59)) return FROM_13; // Maestro; Discover, UnionPay, RuPay, Elo, Verve among it
  return 0;
}

function luhn(n: i32): bool {
  let sum: u32 = 0;
  for (let i = n - 1, doubled = false; i >= 0; i--, doubled = !doubled) {
    let d = <u32>load<u8>(digits + i);
    if (doubled) {
      d <<= 1;
      if (d > 9) d -= 9;
    }
    sum += d;
  }
  return sum % 10 == 0;
}

/** 13–19 digits, at most one separator between two of them, of an issuer's range and length, with a right Luhn digit. */
function paymentCard(text: usize, length: i32, from: i32, whole: bool): i32 {
  for (let start = nextDigit(text, length, from); start < length; start = nextRun(text, length, start)) {
    if (digitAt(text, length, start - 1)) continue;
    // The fraction of a number is no card number.
    if (start >= 2 && at(text, start - 1) == 0x2e && digitAt(text, length, start - 2)) continue;
    let n = 0,
      complete: u32 = 0; // bit n: the text's n-th digit ends a group
    for (let i = start; i < length && n <= 19; i++) {
      const b = at(text, i);
      if (isDigit(b)) {
        if (n == 19) {
          n = 20;
          break;
        }
        store<u8>(digits + n++, <u8>(b - 0x30));
        if (!digitAt(text, length, i + 1)) complete |= (<u32>1) << n;
        store<u8>(ends + n, <u8>(i - start + 1));
      } else if (!isSeparator(b) || !digitAt(text, length, i + 1)) break;
    }
    if (n < 13) continue;
    const lengths = cardLengths() & complete;
    for (let k = min(n, 19); k >= 13; k--) {
      if (lengths & ((<u32>1) << k) && luhn(k)) {
        matchEnd = start + load<u8>(ends + k);
        return start;
      }
    }
  }
  return -1;
}

/** Country (two letters) and length of its IBANs, four bytes each: the SWIFT IBAN registry, and DZ, IR, MA and MZ, which use IBANs outside it. */
const IBAN_LENGTHS =
  'AD24AE23AL28AT20AZ28BA20BE16BG22BH22BI27BR29BY28CH21CR22CY28CZ24DE22DJ27DK18DO28DZ26EE20EG29ES24FI18FK18FO18FR27GB22GE22GI23GL18GR27GT28HN28HR21HU28IE22IL23' +
  'IQ23IR26IS26IT27JO30KW30KZ20LB28LC32LI21LT20LU20LV21LY25MA28MC27MD24ME22MK19MN20MR27MT31MU30MZ25NI28NL18NO15OM23PK24PL28PS29PT25QA29RO24RS22RU33SA24SC31SD18SE24SI19' +
  'SK24SM27SO23ST25SV28TL23TN24TR26UA29VA22VG24XK20YE30';

function ibanLength(a: u32, b: u32): i32 {
  for (let i = 0; i < IBAN_LENGTHS.length; i += 4) {
    if (IBAN_LENGTHS.charCodeAt(i) == a && IBAN_LENGTHS.charCodeAt(i + 1) == b) {
      return (IBAN_LENGTHS.charCodeAt(i + 2) - 0x30) * 10 + IBAN_LENGTHS.charCodeAt(i + 3) - 0x30;
    }
  }
  return 0;
}

/** An IBAN (ISO 13616) of its country's length, at most one separator between two characters, with right check digits. */
function iban(text: usize, length: i32, from: i32, whole: bool): i32 {
  for (let check = nextDigit(text, length, from); check + 13 <= length; check = nextRun(text, length, check)) {
    const start = check - 2;
    if (start < from || !isLetter(at(text, start)) || !isLetter(at(text, start + 1)) || !isDigit(at(text, check + 1))) continue;
    if (alphanumericAt(text, length, start - 1)) continue;
    const wanted = ibanLength(at(text, start) & ~0x20, at(text, start + 1) & ~0x20);
    let n = 0,
      i = start;
    // ISO 7064 mod 97-10 over the characters from the fifth on, then the first four.
    let remainder: u32 = 0;
    for (; i < length && n < wanted; i++) {
      const b = at(text, i);
      if (isAlphanumeric(b)) {
        if (++n > 4) remainder = mod97(remainder, b);
      } else if (!isSeparator(b) || !alphanumericAt(text, length, i + 1)) break;
    }
    if (!wanted || n < wanted || alphanumericAt(text, length, i)) continue;
    for (let k = 0; k < 4; k++) remainder = mod97(remainder, at(text, start + k));
    if (remainder != 1) continue;
    matchEnd = i;
    return start;
  }
  return -1;
}

function mod97(remainder: u32, b: u32): u32 {
  return isDigit(b) ? (remainder * 10 + b - 0x30) % 97 : (remainder * 100 + (b | 0x20) - 0x61 + 10) % 97;
}

function number(text: usize, i: i32, n: i32): u32 {
  let value: u32 = 0;
  for (const end = i + n; i < end; i++) value = value * 10 + at(text, i) - 0x30;
  return value;
}

function digitsAt(text: usize, length: i32, i: i32, n: i32): bool {
  if (i + n > length) return false;
  for (const end = i + n; i < end; i++) if (!isDigit(at(text, i))) return false;
  return true;
}

/** `123-45-6789`, `123 45 6789` or `123+45+6789`; `123456789` only as a whole value. No area 000, 666 or 9xx, no group 00, no serial 0000. */
function usSsn(text: usize, length: i32, from: i32, whole: bool): i32 {
  if (
    whole &&
    length == 9 &&
    from == 0 &&
    digitsAt(text, 9, 0, 9) &&
    isIssued(number(text, 0, 3), number(text, 3, 2), number(text, 5, 4))
  ) {
    matchEnd = 9;
    return 0;
  }
  for (let start = nextDigit(text, length, from); start + 11 <= length; start = nextRun(text, length, start)) {
    if (digitAt(text, length, start - 1)) continue;
    const separator = at(text, start + 3);
    if (!isSeparator(separator) || at(text, start + 6) != separator || digitAt(text, length, start + 11)) continue;
    if (!digitsAt(text, length, start, 3) || !digitsAt(text, length, start + 4, 2) || !digitsAt(text, length, start + 7, 4)) continue;
    if (!isIssued(number(text, start, 3), number(text, start + 4, 2), number(text, start + 7, 4))) continue;
    matchEnd = start + 11;
    return start;
  }
  return -1;
}

function isIssued(area: u32, group: u32, serial: u32): bool {
  return area != 0 && area != 666 && area < 900 && group != 0 && serial != 0;
}

const MAX_LOCAL: i32 = 64; // RFC 5321, 4.5.3.1.1
const MAX_DOMAIN: i32 = 254;

function isLocal(b: u32): bool {
  return isAlphanumeric(b) || b == 0x2e || b == 0x5f || b == 0x25 || b == 0x2b || b == 0x2d || b == 0x27 || b >= 0x80;
}
function isDomain(b: u32): bool {
  return isAlphanumeric(b) || b == 0x2e || b == 0x2d || b >= 0x80;
}

/** The last 64 bytes at most of `[A-Za-z0-9._%+'-]` and non-ASCII letters, `@`, and a domain of two labels or more whose last is no number. */
function email(text: usize, length: i32, from: i32, whole: bool): i32 {
  for (let sign = from; sign < length; sign++) {
    sign = indexOfByte(text, length, sign, 0x40);
    if (sign < 0) return -1;
    let start = sign;
    for (const lowest = max(from, sign - MAX_LOCAL); start > lowest && isLocal(at(text, start - 1)); ) start--;
    // Not inside a character, and not with the quotation mark before it.
    while (start < sign && ((at(text, start) & 0xc0) == 0x80 || at(text, start) == 0x27)) start++;
    if (start == sign) continue;
    const end = domainEnd(text, length, sign + 1);
    if (!end) continue;
    matchEnd = end;
    return start;
  }
  return -1;
}

/** Past the longest domain name at `from`, or 0. */
function domainEnd(text: usize, length: i32, from: i32): i32 {
  let end = from;
  for (const highest = min(length, from + MAX_DOMAIN); end < highest && isDomain(at(text, end)); ) end++;
  while (end > from && end < length && (at(text, end) & 0xc0) == 0x80) end--; // not inside a character
  while (end > from) {
    // The last label: from the last dot on. Take it off while it cannot be a top-level domain.
    let dot = end - 1,
      letters = 0;
    for (; dot >= from && at(text, dot) != 0x2e; dot--) letters += i32(isLetter(at(text, dot)) || at(text, dot) >= 0x80);
    if (dot <= from) return 0;
    if (letters && end - dot > 2 && at(text, end - 1) != 0x2d) return end;
    end = letters && end - dot > 2 ? end - 1 : dot;
  }
  return 0;
}

/** The first `wanted` at or past `i`, or -1. */
function indexOfByte(text: usize, length: i32, i: i32, wanted: u32): i32 {
  const pattern = i8x16.splat(<i8>wanted);
  for (; i + 16 <= length; i += 16) {
    const hits = i8x16.bitmask(i8x16.eq(v128.load(text + i), pattern));
    if (hits) return i + ctz(hits);
  }
  for (; i < length; i++) if (at(text, i) == wanted) return i;
  return -1;
}

/** `+` and 8–15 digits (E.164), or ten digits of the North American plan written with separators or parentheses, 1 before them or not. */
function phone(text: usize, length: i32, from: i32, whole: bool): i32 {
  for (let start = nextPhone(text, length, from); start < length; start = nextPhone(text, length, start + 1)) {
    const b = at(text, start);
    if (b == 0x2b) matchEnd = alphanumericAt(text, length, start - 1) ? 0 : international(text, length, start + 1);
    else matchEnd = digitAt(text, length, start - 1) ? 0 : northAmerican(text, length, start);
    if (matchEnd) return start;
  }
  return -1;
}

/** The first plus, parenthesis or digit at or past `i`, or `length`. */
function nextPhone(text: usize, length: i32, i: i32): i32 {
  const zero = i8x16.splat(0x30),
    ten = i8x16.splat(10),
    plus = i8x16.splat(0x2b),
    open = i8x16.splat(0x28);
  for (; i + 16 <= length; i += 16) {
    const v = v128.load(text + i);
    const hits = i8x16.bitmask(v128.or(i8x16.lt_u(i8x16.sub(v, zero), ten), v128.or(i8x16.eq(v, plus), i8x16.eq(v, open))));
    if (hits) return i + ctz(hits);
  }
  while (i < length && !isDigit(at(text, i)) && at(text, i) != 0x2b && at(text, i) != 0x28) i++;
  return i;
}

function isPhoneSeparator(b: u32): bool {
  return b == 0x20 || b == 0x2d || b == 0x2e || b == 0x28 || b == 0x29 || b == 0x2f;
}

/** Past the digits from `i` on, up to two separators between two of them; 0 when they are not 8–15 or begin with 0. */
function international(text: usize, length: i32, i: i32): i32 {
  if (!digitAt(text, length, i) || at(text, i) == 0x30) return 0;
  let n = 0,
    end = i;
  for (let gap = 0; i < length && gap <= 2; i++) {
    const b = at(text, i);
    if (isDigit(b)) {
      if (n == 15) return gap ? end : 0;
      n++;
      gap = 0;
      end = i + 1;
    } else if (isPhoneSeparator(b)) gap++;
    else break;
  }
  return n >= 8 ? end : 0;
}

function northAmerican(text: usize, length: i32, i: i32): i32 {
  if (at(text, i) == 0x31 && i + 1 < length && isPhoneSeparator(at(text, i + 1))) {
    i += 2;
    if (i < length && at(text, i) == 0x28 && at(text, i - 1) == 0x28) return 0;
    if (i < length && at(text, i - 1) == 0x28) i--;
  }
  const bracketed = i < length && at(text, i) == 0x28;
  if (bracketed) i++;
  if (!subscriberAt(text, length, i)) return 0;
  i += 3;
  if (bracketed) {
    if (i >= length || at(text, i) != 0x29) return 0;
    i++;
    if (i < length && at(text, i) == 0x20) i++;
  } else {
    if (i >= length || !isTrunk(at(text, i))) return 0;
    i++;
  }
  if (!subscriberAt(text, length, i) || i + 3 >= length || !isTrunk(at(text, i + 3)) || !digitsAt(text, length, i + 4, 4)) return 0;
  return digitAt(text, length, i + 8) ? 0 : i + 8;
}

function isTrunk(b: u32): bool {
  return b == 0x20 || b == 0x2d || b == 0x2e || b == 0x2b;
}

/** Three digits, the first 2–9: an area or exchange code. */
function subscriberAt(text: usize, length: i32, i: i32): bool {
  return digitsAt(text, length, i, 3) && at(text, i) >= 0x32;
}

// Last in the file: a row takes its function, and with it all that the function reads.
const DETECTORS: Detector[] = [
  new Detector('payment-card', 37, 13, false, Normal.DIGITS, paymentCard),
  new Detector('iban', 67, 2, false, Normal.ALPHANUMERIC, iban),
  new Detector('us-ssn', 11, 9, false, Normal.DIGITS, usSsn),
  new Detector('email', 320, 0, true, Normal.LOWER, email),
  new Detector('phone', 48, 8, false, Normal.DIGITS, phone),
];

/** The built-in detector of that name, or null. */
export function detectorOf(name: string): Detector | null {
  for (let i = 0; i < DETECTORS.length; i++) if (DETECTORS[i].name == name) return DETECTORS[i];
  return null;
}
