// The messages of sluice.session.v1.SessionDoor, as filters write and read them. Field numbers are those of proto/sluice/session/v1/session.proto.
// Requests are written into one buffer, reused; answers are read strictly: what is not understood is no answer.
import { ByteBuffer, copyOf } from '../abi/bytes';
import { ProtoReader, ProtoWriter } from '../abi/protobuf';
import { Reuse } from './judged';
import { CommandPlan, decodeCommandPlan, Origins } from './plan';

export const enum RefusalKind {
  UNSPECIFIED,
  UNAUTHENTICATED,
  DENIED,
  UNAVAILABLE,
  UNSUPPORTED,
  CANCELLED,
}

const NONE = new ArrayBuffer(0);
/** Of a message that has no such thing. */
const NO_FIELD: u32 = u32.MAX_VALUE;

/** Why not, in UTF-8. */
export class Refusal {
  kind: RefusalKind = RefusalKind.UNSPECIFIED;
  message: ArrayBuffer = NONE;
  detail: ArrayBuffer = NONE;
  hint: ArrayBuffer = NONE;
  /** The code that the protocol says it with; empty: as the kind says. */
  code: string = '';

  /** A refusal that the filter makes itself. */
  static of(kind: RefusalKind, code: string, message: string): Refusal {
    const refusal = new Refusal();
    refusal.kind = kind;
    refusal.code = code;
    refusal.message = String.UTF8.encode(message);
    return refusal;
  }
}

const writer = new ProtoWriter();

export function openRequest(
  target: ArrayBuffer,
  address: ArrayBuffer,
  emitter: ArrayBuffer,
  token: usize,
  tokenLength: u32,
  passage: ArrayBuffer,
): ProtoWriter {
  writer.reset();
  writer.bytes(1, target);
  writer.bytes(2, address);
  writer.bytes(3, emitter);
  if (passage.byteLength) writer.bytes(5, passage);
  else writer.span(4, token, tokenLength);
  return writer;
}

/** One entry of the start-up's parameters, in an `openRequest`. */
export function addParameter(name: usize, nameLength: u32, value: usize, valueLength: u32): void {
  const entry = writer.open(6);
  writer.span(1, name, nameLength);
  writer.span(2, value, valueLength);
  writer.close(entry);
}

/** How long the answer may take, in an `openRequest`; without it, as long as it takes. */
export function addWait(ms: u64): void {
  writer.uint(7, ms);
}

export function logInRequest(session: ArrayBuffer, message: usize, length: u32): ByteBuffer {
  writer.reset();
  writer.bytes(1, session);
  writer.span(2, message, length);
  return writer.out;
}

export function readyRequest(session: ArrayBuffer, cancelKey: ArrayBuffer): ByteBuffer {
  writer.reset();
  writer.bytes(1, session);
  writer.bytes(2, cancelKey);
  return writer.out;
}

/** Parameters and their types may follow: `addValue`, `addTypes`, `addEnded`. `known`: need not be given again. */
export function judgeRequest(
  session: ArrayBuffer,
  text: usize,
  length: u32,
  prepare: bool,
  name: ArrayBuffer,
  idle: bool,
  known: Origins,
): ProtoWriter {
  writer.reset();
  writer.bytes(1, session);
  writer.span(2, text, length);
  writer.uint(4, u64(prepare));
  writer.bytes(6, name);
  writer.uint(7, u64(idle));
  writer.bytes(8, known.id);
  return writer;
}

export function addValue(isNull: bool, binary: bool, value: usize, length: u32): void {
  const entry = writer.open(3);
  writer.uint(1, u64(isNull));
  writer.uint(2, u64(binary));
  if (!isNull) writer.span(3, value, length);
  writer.close(entry);
}

export function addTypes(types: StaticArray<u32>): void {
  if (!types.length) return;
  const packed = writer.open(5);
  for (let i = 0; i < types.length; i++) writer.varint(types[i]);
  writer.close(packed);
}

/** Commands that changed names, and have ended well. */
export function addEnded(commands: u64[]): void {
  const packed = writer.open(9);
  for (let i = 0; i < commands.length; i++) writer.varint(commands[i]);
  writer.close(packed);
}

export function awaitRequest(session: ArrayBuffer, approval: ArrayBuffer): ByteBuffer {
  writer.reset();
  writer.bytes(1, session);
  writer.bytes(2, approval);
  return writer.out;
}

export function cancelRequest(target: ArrayBuffer, key: usize, length: u32): ByteBuffer {
  writer.reset();
  writer.bytes(1, target);
  writer.span(2, key, length);
  return writer.out;
}

/** `next`: all that was told of the session has a lower sequence. */
export function closeRequest(session: ArrayBuffer, outcome: string, next: u64): ByteBuffer {
  writer.reset();
  writer.bytes(1, session);
  writer.bytes(2, String.UTF8.encode(outcome));
  writer.uint(3, next);
  return writer.out;
}

export function refusedRequest(session: ArrayBuffer, code: string): ByteBuffer {
  writer.reset();
  writer.bytes(1, session);
  writer.bytes(2, String.UTF8.encode(code));
  return writer.out;
}

export function generationRequest(emitter: ArrayBuffer, known: u64): ByteBuffer {
  writer.reset();
  writer.bytes(1, emitter);
  writer.uint(2, known);
  return writer.out;
}

/** GenerationResponse. */
export class Told {
  generation: u64 = 0;
  leaseMs: u64 = 0;
}

export function readTold(ptr: usize, length: u32): Told | null {
  const wire = new ProtoReader(ptr, length),
    told = new Told();
  while (wire.next()) {
    if (wire.field == 1) told.generation = wire.value;
    else if (wire.field == 2) told.leaseMs = wire.value & 0xffff_ffff;
    else return null;
  }
  return wire.broken ? null : told;
}

/** Overwrites the request written last: it held a secret. */
export function wipeRequest(): void {
  memory.fill(writer.out.ptr, 0, writer.out.length);
}

function readRefusal(ptr: usize, length: u32): Refusal | null {
  const wire = new ProtoReader(ptr, length),
    refusal = new Refusal();
  while (wire.next()) {
    switch (wire.field) {
      case 1:
        refusal.kind = <RefusalKind>wire.value;
        break;
      case 2:
        refusal.message = textOf(wire);
        break;
      case 3:
        refusal.detail = textOf(wire);
        break;
      case 4:
        refusal.hint = textOf(wire);
        break;
      case 5:
        refusal.code = String.UTF8.decode(textOf(wire));
        break;
      default:
        return null;
    }
  }
  return wire.broken ? null : refusal;
}

/** Up to a NUL, which ends a text in every protocol. */
function textOf(wire: ProtoReader): ArrayBuffer {
  let n: u32 = 0;
  while (n < wire.length && load<u8>(wire.ptr + n)) n++;
  return copyOf(wire.ptr, n);
}

/** Of Open, LogIn and Ready: a refusal, or bytes for the target. */
export class DoorAnswer {
  understood: bool = false;
  session: ArrayBuffer = NONE;
  refusal: Refusal | null = null;
  /** For the target; in the answer's own memory. */
  bytes: usize = 0;
  length: u32 = 0;
  /** For how long commands may begin; 0: no end is known. */
  validMs: u64 = 0;
}

function readAnswer(ptr: usize, length: u32, session: u32, refusal: u32, bytes: u32, validMs: u32 = NO_FIELD): DoorAnswer {
  const wire = new ProtoReader(ptr, length),
    answer = new DoorAnswer();
  while (wire.next()) {
    if (wire.field == session) answer.session = copyOf(wire.ptr, wire.length);
    else if (wire.field == bytes) {
      answer.bytes = wire.ptr;
      answer.length = wire.length;
    } else if (wire.field == validMs) answer.validMs = wire.value;
    else if (wire.field == refusal) {
      answer.refusal = readRefusal(wire.ptr, wire.length);
      if (!answer.refusal) return answer;
    } else return answer;
  }
  answer.understood = !wire.broken;
  return answer;
}

export function readOpened(ptr: usize, length: u32): DoorAnswer {
  return readAnswer(ptr, length, 1, 2, 3, 4);
}
export function readLoggedIn(ptr: usize, length: u32): DoorAnswer {
  return readAnswer(ptr, length, NO_FIELD, 1, 2);
}
export function readReady(ptr: usize, length: u32): DoorAnswer {
  return readAnswer(ptr, length, NO_FIELD, 1, NO_FIELD);
}

/** CancelResponse: whether the cancellation may go on. */
export function readKnown(ptr: usize, length: u32): bool {
  const wire = new ProtoReader(ptr, length);
  let known = false;
  while (wire.next()) if (wire.field == 1) known = wire.value != 0;
  return known && !wire.broken;
}

/** JudgeResponse. Of the plan, the refusal and the hold exactly one is there, or it is not understood. */
export class Verdict {
  command: u64 = 0;
  plan: CommandPlan | null = null;
  eachExecution: bool = false;
  revision: ArrayBuffer = NONE;
  generation: u64 = 0;
  reuse: Reuse = Reuse.NONE;
  unsettles: bool = false;
  /** What it runs is what stands under a name when it is executed. */
  byName: bool = false;
  refusal: Refusal | null = null;
  /** Of a hold: what is awaited, and what the client is told. */
  approval: ArrayBuffer = NONE;
  message: ArrayBuffer = NONE;
  hint: ArrayBuffer = NONE;

  /** It cannot be carried out after all. */
  refuse(refusal: Refusal): void {
    this.plan = null;
    this.refusal = refusal;
  }

  get held(): bool {
    return this.approval.byteLength > 0;
  }

  private allowed(ptr: usize, length: u32, known: Origins): bool {
    const wire = new ProtoReader(ptr, length);
    // An empty plan is one; none at all is a service that forgot.
    let plan: CommandPlan | null = null;
    while (wire.next()) {
      if (wire.field == 1) plan = decodeCommandPlan(wire.ptr, wire.length, known);
      else if (wire.field == 2) this.eachExecution = wire.value != 0;
      else if (wire.field == 3) this.revision = copyOf(wire.ptr, wire.length);
      else if (wire.field == 4) this.generation = wire.value;
      else if (wire.field == 5 && wire.value <= <u64>Reuse.SHAPE) this.reuse = <Reuse>(<i32>wire.value);
      else if (wire.field == 6) this.unsettles = wire.value != 0;
      else if (wire.field == 7) this.byName = wire.value != 0;
      else return false;
    }
    this.plan = plan;
    return !wire.broken && plan != null;
  }

  private hold(ptr: usize, length: u32): bool {
    const wire = new ProtoReader(ptr, length);
    while (wire.next()) {
      if (wire.field == 1) this.approval = copyOf(wire.ptr, wire.length);
      else if (wire.field == 2) this.message = textOf(wire);
      else if (wire.field == 3) this.hint = textOf(wire);
      else return false;
    }
    return !wire.broken && this.held;
  }

  /** `known`: as the question said. */
  read(ptr: usize, length: u32, known: Origins): bool {
    const wire = new ProtoReader(ptr, length);
    let verdicts = 0;
    while (wire.next()) {
      if (wire.field == 1) {
        this.command = wire.value;
        continue;
      }
      verdicts++;
      if (wire.field == 2) {
        if (!this.allowed(wire.ptr, wire.length, known)) return false;
      } else if (wire.field == 3) {
        this.refusal = readRefusal(wire.ptr, wire.length);
        if (!this.refusal) return false;
      } else if (wire.field != 4 || !this.hold(wire.ptr, wire.length)) return false;
    }
    return !wire.broken && verdicts == 1;
  }
}

export function readVerdict(ptr: usize, length: u32, known: Origins): Verdict | null {
  const verdict = new Verdict();
  return verdict.read(ptr, length, known) ? verdict : null;
}
