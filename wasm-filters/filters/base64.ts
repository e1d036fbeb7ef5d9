// Base64 (RFC 4648, section 4), strict: padded, no other characters, no bits left over.
import { ByteBuffer } from '../abi/bytes';

function sextet(c: u32): u32 {
  if (c - 0x41 < 26) return c - 0x41;
  if (c - 0x61 < 26) return c - 0x61 + 26;
  if (c - 0x30 < 10) return c - 0x30 + 52;
  return c == 0x2b ? 62 : c == 0x2f ? 63 : 0x100;
}

/** Appends the decoded bytes; false when the text is not base64. */
export function decodeBase64(ptr: usize, length: u32, out: ByteBuffer): bool {
  if (length & 3) return false;
  out.reserve((length / 4) * 3);
  for (const end = ptr + length; ptr < end; ptr += 4) {
    const last = ptr + 4 == end;
    const pads: u32 = last && load<u8>(ptr, 3) == 0x3d ? (load<u8>(ptr, 2) == 0x3d ? 2 : 1) : 0;
    const a = sextet(load<u8>(ptr)),
      b = sextet(load<u8>(ptr, 1));
    const c = pads == 2 ? 0 : sextet(load<u8>(ptr, 2)),
      d = pads ? 0 : sextet(load<u8>(ptr, 3));
    if ((a | b | c | d) & 0x100) return false;
    if ((pads == 2 && b & 15) || (pads == 1 && c & 3)) return false;
    out.byte((a << 2) | (b >> 4));
    if (pads < 2) out.byte(((b << 4) | (c >> 2)) & 0xff);
    if (pads < 1) out.byte(((c << 6) | d) & 0xff);
  }
  return true;
}
