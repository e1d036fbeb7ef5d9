// The packets that come before messages have types: StartupMessage, SSLRequest, GSSENCRequest, CancelRequest.
import { equals, utf8 } from '../../abi/bytes';
import { addParameter } from '../../stream/door';
import { be32, Frames, textLength } from './frame';

export const enum StartupCode {
  CANCEL = 80877102,
  SSL = 80877103,
  GSSENC = 80877104,
}

/** The server's own bound on a start-up packet. */
export const MAX_STARTUP: u32 = 10_000;
export const PROTOCOL_3_0: u32 = 3 << 16;
/** A protocol that no server speaks: it is answered with an error, and the connection ends. */
const NO_PROTOCOL: u32 = (9 << 16) | 9;

const REPLICATION = utf8('replication');
const OPTIONAL = utf8('_pq_.');
const OFF = [utf8('false'), utf8('off'), utf8('no'), utf8('0'), utf8('f'), utf8('n')];

export function writeRequest(frames: Frames, code: u32): Frames {
  return frames.reset().int32(8).int32(code);
}

export function writeNoProtocol(frames: Frames): Frames {
  return writeRequest(frames, NO_PROTOCOL);
}

/** The names and values of a StartupMessage, as far as the filter needs them. */
export class Startup {
  wellFormed: bool = false;
  replication: bool = false;
  /** Asks for what protocol 3.0 has not: the client must hear that it does not get it. */
  negotiates: bool = false;
  private options: ArrayBuffer[] = [];

  constructor(private packet: ArrayBuffer) {
    this.wellFormed = this.walk(false);
  }

  /** Adds the parameters to the Open request being written. */
  addTo(): void {
    this.walk(true);
  }

  private walk(adds: bool): bool {
    const start = changetype<usize>(this.packet),
      end = start + this.packet.byteLength;
    if (be32(start + 4) != PROTOCOL_3_0) this.negotiates = true;
    let p = start + 8;
    while (p < end) {
      const nameLength = textLength(p, end);
      if (nameLength <= 0) return nameLength == 0 && p + 1 == end;
      const value = p + nameLength + 1,
        valueLength = textLength(value, end);
      if (valueLength < 0) return false;
      if (adds) addParameter(p, nameLength, value, valueLength);
      else this.look(p, nameLength, value, valueLength);
      p = value + valueLength + 1;
    }
    return false;
  }

  private look(name: usize, nameLength: u32, value: usize, valueLength: u32): void {
    if (nameLength >= 5 && memory.compare(name, changetype<usize>(OPTIONAL), 5) == 0) {
      this.negotiates = true;
      const option = new ArrayBuffer(nameLength);
      memory.copy(changetype<usize>(option), name, nameLength);
      this.options.push(option);
    }
    if (!equals(name, nameLength, REPLICATION)) return;
    this.replication = true;
    for (let i = 0; i < OFF.length; i++) if (equals(value, valueLength, OFF[i])) this.replication = false;
  }

  /** NegotiateProtocolVersion: 3.0, and none of the options. */
  writeNegotiation(frames: Frames): void {
    frames.open(0x76).int32(PROTOCOL_3_0).int32(this.options.length);
    for (let i = 0; i < this.options.length; i++) frames.text(this.options[i]);
    frames.close();
  }
}
