// A protocol for trying the network filter's framework: lines in both directions. The first letter of a client's line says what becomes of it.
//   p…   passes          P… passes, as it was sent, in as few copies as the framework makes
//   j…   is judged first: the door's answer to JUDGE goes before it (grpc status N: "!N ")
//   a…   waits until the door answers AWAIT, then passes; everything behind it waits too     A… passes without the answer, as it was sent
//   g…   as `a`, and is given up at the next tick: passes with "given up " before it
//   h…   is never consumed (what waits for ever)
//   x…   closes      b… injects "ping\n", whose reply becomes "refused\n", and then closes
//   t…   traps       f… reports the facts of the connection upstream
//   e…   emits a notice with the line in it, and passes     E… keeps room for one, never gives it back, and passes
// Of the target's lines, those that begin with `s` become upper case; `d…` are dropped; `k…` close after they have passed;
// `i…` have "ping\n" injected upstream.
import { at, ByteBuffer, utf8 } from '../../wasm-filters/abi/bytes';
import { DoorMethod, GrpcStatus, Protocol } from '../../wasm-filters/stream/protocol';
import { serve } from '../../wasm-filters/stream/serve';
import { Admission } from '../../wasm-filters/tap/emitter';
import { writeNotice } from '../../wasm-filters/tap/event';

export * from '../../wasm-filters/stream/callbacks';

const PING = utf8('ping\n'),
  REFUSED = utf8('refused\n'),
  GIVEN_UP = utf8('given up '),
  AWAY = utf8('away '),
  UNRECORDED = utf8('unrecorded '),
  SESSION = utf8('session-1'),
  KIND = utf8('line');
const LF: u8 = 10;

function lineEnd(ptr: usize, length: u32): u32 {
  for (let i: u32 = 0; i < length; i++) if (load<u8>(ptr + i) == LF) return i + 1;
  return 0;
}

class Echo extends Protocol {
  private asked: u8 = 0;
  private released: bool = false;
  private prefix: ByteBuffer = new ByteBuffer(16);
  private tags: u32 = 0;
  private refusing: bool = false;
  private request: ByteBuffer = new ByteBuffer(64);

  downstream(ptr: usize, length: u32, end: bool): u32 {
    let used: u32 = 0;
    while (used < length) {
      const size = lineEnd(ptr + used, length - used);
      if (size == 0) break;
      if (!this.line(ptr + used, size)) break;
      used += size;
    }
    // A client that goes away while it waits gives up what it waits for.
    if (end && this.asked) this.connection.close();
    return used;
  }

  private line(ptr: usize, size: u32): bool {
    const c = this.connection;
    switch (load<u8>(ptr)) {
      case 0x70:
        c.sendUpstream(ptr, size);
        return true;
      case 0x50:
        c.passUpstream(ptr, size);
        return true;
      case 0x6a:
      case 0x41:
      case 0x61:
      case 0x67: {
        if (this.released) {
          this.released = false;
          this.asked = 0;
          if (load<u8>(ptr) == 0x41) {
            c.passUpstream(ptr, size);
            return true;
          }
          c.sendUpstream(this.prefix.ptr, this.prefix.length);
          c.sendUpstream(ptr, size);
          return true;
        }
        if (this.asked) return false;
        this.asked = load<u8>(ptr);
        this.request.reset();
        this.request.byte(0x12);
        this.request.byte(size - 1);
        this.request.write(ptr, size - 1);
        this.prefix.reset();
        if (!c.ask(this.asked == 0x6a ? DoorMethod.JUDGE : DoorMethod.AWAIT, this.request, ++this.tags)) {
          this.prefix.bytes(AWAY);
          this.released = true;
          return this.line(ptr, size);
        }
        if (this.asked == 0x67) c.tick(true);
        return false;
      }
      case 0x68:
        return false;
      case 0x78:
        c.close();
        return true;
      case 0x62:
        this.refusing = true;
        c.sendUpstream(at(PING), PING.byteLength);
        return true;
      case 0x74:
        unreachable();
        return true;
      case 0x66:
        this.prefix.reset();
        this.prefix.byte(0x66);
        this.prefix.byte(0x20);
        this.prefix.bytes(c.target());
        this.prefix.byte(0x20);
        this.prefix.bytes(c.downstreamAddress());
        this.prefix.byte(0x20);
        this.prefix.bytes(c.passage());
        this.prefix.byte(0x20);
        this.prefix.bytes(c.emitterId());
        this.prefix.byte(LF);
        c.sendUpstream(this.prefix.ptr, this.prefix.length);
        return true;
      case 0x45:
        if (c.admit(1000) != Admission.ADMITTED) c.sendUpstream(at(UNRECORDED), UNRECORDED.byteLength);
        c.sendUpstream(ptr, size);
        return true;
      case 0x65: {
        if (c.admit(1000) != Admission.ADMITTED) c.sendUpstream(at(UNRECORDED), UNRECORDED.byteLength);
        else {
          writeNotice(c.event(SESSION), KIND, String.UTF8.encode(String.UTF8.decodeUnsafe(ptr, size - 1)));
          c.emit(true);
          c.release(1000);
        }
        c.sendUpstream(ptr, size);
        return true;
      }
      default:
        c.close();
        return true;
    }
  }

  upstream(ptr: usize, length: u32, end: bool): u32 {
    let used: u32 = 0;
    while (used < length) {
      const from = ptr + used,
        size = lineEnd(from, length - used);
      if (size == 0) break;
      used += size;
      if (this.refusing) {
        this.connection.sendDownstream(at(REFUSED), REFUSED.byteLength);
        this.connection.close();
        continue;
      }
      const first = load<u8>(from);
      if (first == 0x69) this.connection.sendUpstream(at(PING), PING.byteLength);
      if (first == 0x64) continue;
      if (first == 0x73) {
        for (let i: u32 = 0; i < size; i++) {
          const b = load<u8>(from + i);
          if (b >= 0x61 && b <= 0x7a) store<u8>(from + i, b - 32);
        }
        this.connection.sendDownstream(from, size);
      } else this.connection.passDownstream(from, size);
      if (first == 0x6b) this.connection.close();
    }
    return used;
  }

  answered(tag: u32, grpcStatus: u32, ptr: usize, length: u32): void {
    this.prefix.reset();
    if (grpcStatus != GrpcStatus.OK) {
      this.prefix.byte(0x21);
      this.prefix.decimal(grpcStatus);
    } else this.prefix.write(ptr, length);
    this.prefix.byte(0x20);
    this.released = true;
    this.connection.resume();
  }

  ticked(now: u64): void {
    this.connection.tick(false);
    this.connection.giveUp(this.tags);
    this.prefix.reset();
    this.prefix.bytes(GIVEN_UP);
    this.released = true;
    this.connection.resume();
  }

  ended(): void {
    this.prefix.free();
    this.request.reset();
    this.request.byte(0x12);
    this.request.byte(1);
    this.request.byte(0x65);
    this.connection.ask(DoorMethod.CLOSE, this.request, 0);
    this.request.free();
  }
}

serve('echo/0', (connection) => new Echo(connection));
