// Framing of PostgreSQL's protocol 3 (https://www.postgresql.org/docs/current/protocol-message-formats.html): numbers are big-endian; a message is a
// type byte, a length that counts itself, and a body. The start-up packets have no type byte.
import { ByteBuffer } from '../../abi/bytes';

/** The bytes before a message's body. */
export const HEADER: u32 = 5;

/** Messages of the client. */
export const enum Front {
  BIND = 0x42,
  CLOSE = 0x43,
  COPY_DATA = 0x64,
  COPY_DONE = 0x63,
  COPY_FAIL = 0x66,
  DESCRIBE = 0x44,
  EXECUTE = 0x45,
  FLUSH = 0x48,
  FUNCTION_CALL = 0x46,
  PARSE = 0x50,
  PASSWORD = 0x70,
  QUERY = 0x51,
  SYNC = 0x53,
  TERMINATE = 0x58,
}

/** Messages of the server. */
export const enum Back {
  AUTHENTICATION = 0x52,
  BACKEND_KEY_DATA = 0x4b,
  BIND_COMPLETE = 0x32,
  CLOSE_COMPLETE = 0x33,
  COMMAND_COMPLETE = 0x43,
  COPY_DATA = 0x64,
  COPY_DONE = 0x63,
  COPY_IN_RESPONSE = 0x47,
  COPY_OUT_RESPONSE = 0x48,
  DATA_ROW = 0x44,
  EMPTY_QUERY_RESPONSE = 0x49,
  ERROR_RESPONSE = 0x45,
  NEGOTIATE_PROTOCOL_VERSION = 0x76,
  NO_DATA = 0x6e,
  NOTICE_RESPONSE = 0x4e,
  NOTIFICATION_RESPONSE = 0x41,
  PARAMETER_DESCRIPTION = 0x74,
  PARAMETER_STATUS = 0x53,
  PARSE_COMPLETE = 0x31,
  PORTAL_SUSPENDED = 0x73,
  READY_FOR_QUERY = 0x5a,
  ROW_DESCRIPTION = 0x54,
}

export function be16(p: usize): u32 {
  return <u32>bswap<u16>(load<u16>(p));
}
export function be32(p: usize): u32 {
  return bswap<u32>(load<u32>(p));
}
export function putBe16(p: usize, value: u32): void {
  store<u16>(p, bswap<u16>(<u16>value));
}
export function putBe32(p: usize, value: u32): void {
  store<u32>(p, bswap<u32>(value));
}

/** The length of the text at `p` without its NUL; -1 when there is none before `end`. */
export function textLength(p: usize, end: usize): i32 {
  for (let q = p; q < end; q++) if (!load<u8>(q)) return <i32>(q - p);
  return -1;
}

/** Builds messages, one after the other. */
export class Frames {
  out: ByteBuffer = new ByteBuffer(1024);
  private start: u32 = 0;

  reset(): Frames {
    this.out.reset();
    return this;
  }

  open(type: u32): Frames {
    this.out.byte(type);
    this.start = this.out.length;
    return this.int32(0);
  }

  /** Puts the length in. */
  close(): Frames {
    putBe32(this.out.ptr + this.start, this.out.length - this.start);
    return this;
  }

  byte(value: u32): Frames {
    this.out.byte(value);
    return this;
  }
  int16(value: u32): Frames {
    this.out.byte(value >> 8);
    this.out.byte(value & 0xff);
    return this;
  }
  int32(value: u32): Frames {
    this.out.u32(bswap<u32>(value));
    return this;
  }
  /** A text and its NUL. */
  text(value: ArrayBuffer): Frames {
    this.out.bytes(value);
    this.out.byte(0);
    return this;
  }
}
