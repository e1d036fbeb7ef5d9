// ErrorResponse and NoticeResponse: those that the gateway says itself, and those of the target without their texts.
import { utf8 } from '../../abi/bytes';
import { Refusal, RefusalKind } from '../../stream/door';
import { MAX_NAME } from './bind';
import { Back, Frames, textLength } from './frame';

export const enum Stage {
  STARTUP,
  SESSION,
}

/** The one table of refusals and SQLSTATEs. */
export function sqlState(refusal: Refusal, stage: Stage): string {
  if (refusal.code.length) return refusal.code;
  switch (refusal.kind) {
    case RefusalKind.UNAUTHENTICATED:
      return '28000';
    case RefusalKind.UNAVAILABLE:
      return stage == Stage.STARTUP ? '08006' : '58000';
    case RefusalKind.UNSUPPORTED:
      return '0A000';
    case RefusalKind.CANCELLED:
      return '57014';
    default:
      return '42501';
  }
}

const DENIED = utf8('the request was refused');
const ERROR = utf8('ERROR'),
  FATAL = utf8('FATAL'),
  NOTICE = utf8('NOTICE');
const WITHHELD = utf8('the text of this message is withheld: it could hold a masked value');

function field(frames: Frames, name: u32, value: ArrayBuffer): void {
  if (value.byteLength) frames.byte(name).text(value);
}

export function writeRefusal(frames: Frames, refusal: Refusal, stage: Stage, fatal: bool): void {
  const severity = fatal ? FATAL : ERROR;
  frames.open(Back.ERROR_RESPONSE);
  field(frames, 0x53, severity);
  field(frames, 0x56, severity);
  field(frames, 0x43, utf8(sqlState(refusal, stage)));
  field(frames, 0x4d, refusal.message.byteLength ? refusal.message : DENIED);
  field(frames, 0x44, refusal.detail);
  field(frames, 0x48, refusal.hint);
  frames.byte(0).close();
}

export function writeNotice(frames: Frames, message: ArrayBuffer, hint: ArrayBuffer): void {
  frames.open(Back.NOTICE_RESPONSE);
  field(frames, 0x53, NOTICE);
  field(frames, 0x56, NOTICE);
  field(frames, 0x43, utf8('00000'));
  field(frames, 0x4d, message.byteLength ? message : utf8('this statement waits for an approval'));
  field(frames, 0x48, hint);
  frames.byte(0).close();
}

function isDigit(c: u32): bool {
  return c - 0x30 < 10;
}

function isLetter(c: u32): bool {
  return (c | 0x20) - 0x61 < 26;
}

function isSqlState(p: usize, length: i32): bool {
  if (length != 5) return false;
  for (let i = 0; i < 5; i++) {
    const c = <u32>load<u8>(p + i);
    if (!isDigit(c) && !isLetter(c)) return false;
  }
  return true;
}

/** A severity: letters, of the server's language. */
function isSeverity(p: usize, length: i32): bool {
  for (let i = 0; i < length; i++) {
    const c = <u32>load<u8>(p + i);
    if (c < 0x80 && c != 0x20 && !isLetter(c)) return false;
  }
  return length <= 64;
}

function isLine(p: usize, length: i32): bool {
  for (let i = 0; i < length; i++) if (!isDigit(load<u8>(p + i))) return false;
  return length <= 10;
}

/** A file or a routine of the server's source. */
function isPlace(p: usize, length: i32): bool {
  for (let i = 0; i < length; i++) {
    const c = <u32>load<u8>(p + i);
    // Digits, letters, and what paths and C++ names have: . / : _
    if (!isDigit(c) && !isLetter(c) && c != 0x2e && c != 0x2f && c != 0x3a && c != 0x5f) return false;
  }
  return length <= 256;
}

/** More digits in a row are no part of a name but of a number that stands in its place. */
const MOST_DIGITS: i32 = 8;

/** A name as tables, columns and constraints have, of letters, digits, _ and $: RAISE may put any value there, and values of most kinds have not this shape. */
function isName(p: usize, length: i32): bool {
  if (length > MAX_NAME) return false;
  let digits = 0;
  for (let i = 0; i < length; i++) {
    const c = <u32>load<u8>(p + i);
    digits = isDigit(c) ? digits + 1 : 0;
    if (isDigit(c) ? i == 0 || digits > MOST_DIGITS : !isLetter(c) && c != 0x5f && !(c == 0x24 && i) && c < 0x80) return false;
  }
  return true;
}

/**
 * What a report may carry under masking: severity, code, and the names of what it is about. Its texts, and where in them, may hold values; and so may what
 * has not the shape of what its name says.
 */
function stays(name: u32, p: usize, length: i32): bool {
  switch (name) {
    case 0x53: // S
    case 0x56: // V
      return isSeverity(p, length);
    case 0x43: // C: `Report` has seen its shape
      return true;
    case 0x73: // s: schema
    case 0x74: // t: table
    case 0x63: // c: column
    case 0x64: // d: data type
    case 0x6e: // n: constraint
      return isName(p, length);
    case 0x46: // F
    case 0x52: // R
      return isPlace(p, length);
    case 0x4c: // L
      return isLine(p, length);
    default:
      return false;
  }
}

/** What a report says, read from its body. */
export class Report {
  /** Five characters; empty when there is none. */
  code: string = '';
  fatal: bool = false;
  wellFormed: bool = false;

  constructor(p: usize, length: u32) {
    this.wellFormed = this.read(p, p + length);
  }

  private read(p: usize, end: usize): bool {
    while (p < end) {
      const name = <u32>load<u8>(p++);
      if (!name) return p == end;
      const n = textLength(p, end);
      if (n < 0) return false;
      if (name == 0x43) {
        // It goes into the record too.
        if (!isSqlState(p, n)) return false;
        this.code = String.UTF8.decodeUnsafe(p, n);
      } else if (name == 0x56 || name == 0x53) {
        const severity = String.UTF8.decodeUnsafe(p, n);
        if (severity == 'FATAL' || severity == 'PANIC') this.fatal = true;
      }
      p += n + 1;
    }
    return false;
  }
}

/** The report with that well-formed body, its texts withheld. */
export function writeWithheld(frames: Frames, type: u32, p: usize, length: u32): void {
  const end = p + length;
  frames.open(type);
  while (p < end && load<u8>(p)) {
    const name = <u32>load<u8>(p++),
      n = textLength(p, end);
    if (n < 0) break;
    if (stays(name, p, n)) {
      frames.byte(name);
      frames.out.write(p, n + 1);
    } else if (name == 0x4d) frames.byte(name).text(WITHHELD);
    p += n + 1;
  }
  frames.byte(0).close();
}
