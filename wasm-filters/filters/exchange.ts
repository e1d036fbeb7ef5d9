// One HTTP exchange: what the decision obliges to, from the request's headers to its record. Fail closed at every step: what cannot be judged,
// recorded or masked is refused, replaced or cut, and after that not a byte of the target's passes.
import { ByteBuffer, contains, copyOf, equals, startsWith, utf8 } from '../abi/bytes';
import { HeaderBlock, HeaderMap, HeaderPairs, removeHeader, replaceHeader } from '../abi/headers';
import {
  BufferType,
  bufferBytes,
  closeStream,
  continueStream,
  DataStatus,
  givenAt,
  givenLength,
  HeadersStatus,
  keepGiven,
  monotonicNanos,
  property,
  replaceBuffer,
  StreamType,
  TrailersStatus,
} from '../abi/host';
import { ByteSink, createMasker, createRecordMasker, Masker, maskText, reasonOf, Status } from '../mask/masker';
import { decodePlan, Plan, Record } from '../mask/plan';
import { Admission } from '../tap/emitter';
import {
  ENVELOPE_BYTES,
  Finished,
  MAX_REASON,
  openResponseFinished,
  writeMaskedField,
  writeRequestForwarded,
  writeSessionClosed,
} from '../tap/event';
import { Direction, payloadRoom, Recorder } from '../tap/recorder';
import { decodeBase64 } from './base64';
import { ABOUT_THE_UNMASKED, CACHE_VALIDATION, FRAMING, isSluices, PARTIAL_REQUEST } from './header_policy';
import { NO_TUNNEL, NOT_JUDGED, PLAN_UNREADABLE, Problem, RESPONSE_UNMASKABLE, TAP_AWAY, TAP_FULL, UPGRADE_UNMASKABLE } from './problem';
import { Root, Waiting } from './root';

const enum Phase {
  /** Not let through yet. */
  ARRIVED,
  /** Held until the sink is back. */
  WAITING,
  /** Let through to the target: responses are the target's, or Envoy's about it. */
  FORWARDED,
  /** Answered by the filter, never let through. */
  REFUSED,
  /** The response was withheld before it began. */
  REPLACED,
  /** The response was reset after it had begun. */
  CUT,
}

const METADATA = 'metadata\0filter_metadata\0envoy.filters.http.ext_authz\0';
const SESSION = utf8(`${METADATA}session`),
  TARGET = utf8(`${METADATA}target`),
  PLAN = utf8(`${METADATA}plan`);
const CODE_DETAILS = utf8('response\0code_details');
const VIA_UPSTREAM = utf8('via_upstream'),
  DOWNSTREAM = utf8('downstream'),
  REMOTE_RESET = utf8('remote_re');

const METHOD = utf8(':method'),
  STATUS = utf8(':status'),
  UPGRADE = utf8('upgrade'),
  ACCEPT_ENCODING = utf8('accept-encoding');
const CONTENT_TYPE = utf8('content-type'),
  CONTENT_ENCODING = utf8('content-encoding'),
  CONTENT_RANGE = utf8('content-range');
const CACHE_CONTROL = utf8('cache-control'),
  PRIVATE_NO_STORE = utf8('private, no-store'),
  SESSION_HEADER = utf8('x-sluice-session');
const GET = utf8('GET'),
  HEAD = utf8('HEAD'),
  CONNECT = utf8('CONNECT'),
  IDENTITY = utf8('identity');

const COMPLETE = utf8('complete'),
  FAILED = utf8('failed'),
  CANCELLED = utf8('cancelled');
const REPLACED = utf8('replaced'),
  CUT = utf8('cut'),
  RESET = utf8('reset');
const NONE = new ArrayBuffer(0);

const CODED = utf8('the response has a content coding'),
  PARTIAL = utf8('the response is partial'),
  UPGRADED = utf8('the response upgrades the connection');
const AMBIGUOUS_TYPE = utf8('the response has several content types'),
  UNKNOWN_TYPE = utf8('the content type cannot be masked under the rules of the decision');
const HEADERS_UNREADABLE = utf8('the headers of the response cannot be read'),
  HEADERS_UNMASKABLE = utf8('a header of the response cannot be masked');
const TAIL_AT_TRAILERS = utf8('trailers came while text was held back'),
  BODY_UNREADABLE = utf8('the body cannot be read from the host');

const REQUEST_CODED = utf8('a request with a content coding cannot be masked for the record'),
  REQUEST_UNMASKABLE = utf8('a request of this content type cannot be masked for the record'),
  REQUEST_UNREADABLE = utf8('the body is not what its content type says, and cannot be masked for the record');

/** The longest session id and target name, in bytes. */
const MAX_NAME: u32 = 128;

// Reused by all exchanges of the VM: nothing in them outlives a callback.
const out = new ByteSink(65536);
const text = new ByteSink(1024);
const recorded = new ByteSink(1024);
const decoded = new ByteBuffer(1024);
const pairs = new HeaderPairs();
const block = new HeaderBlock();
const finished = new Finished();

/** Printable ASCII without what JSON and headers would escape: the service makes such ids, and anything else is not its. */
function readName(path: ArrayBuffer): ArrayBuffer {
  if (!property(path) || givenLength > MAX_NAME) return NONE;
  for (let i: u32 = 0; i < givenLength; i++) {
    const c = load<u8>(givenAt + i);
    if (c < 0x21 || c > 0x7e || c == 0x22 || c == 0x5c) return NONE;
  }
  return keepGiven();
}

function isTunnel(): bool {
  if (!pairs.read(HeaderMap.REQUEST)) return false;
  while (pairs.next()) if (equals(pairs.name, pairs.nameLength, METHOD)) return equals(pairs.value, pairs.valueLength, CONNECT);
  return false;
}

export class Exchange extends Waiting {
  private phase: Phase = Phase.ARRIVED;
  private session: ArrayBuffer = NONE;
  private target: ArrayBuffer = NONE;
  /** Null when nothing is to be masked. */
  private plan: Plan | null = null;
  private masker: Masker | null = null;
  /** Null when no payload is recorded. */
  private record: Record | null = null;
  private requestRecord: Recorder | null = null;
  private requestMasker: Masker | null = null;
  /** So much of the request is looked at for its record. */
  private requestReach: u64 = 0;
  private responseRecord: Recorder | null = null;
  private requestType: ArrayBuffer = NONE;
  private requestCoding: ArrayBuffer = NONE;
  private hasRequestBody: bool = false;
  private room: u32 = 0;
  private arrivedAt: u64 = 0;
  private firstByteAt: u64 = 0;
  private status: u32 = 0;
  private requestBytes: u64 = 0;
  private responseBytes: u64 = 0;
  private reason: ArrayBuffer = NONE;
  private isHead: bool = false;
  /** The response's headers have left the filter: it cannot be replaced any more. */
  private begun: bool = false;
  /** The response has passed to its end. */
  private ended: bool = false;
  private recorded: bool = false;

  constructor(private root: Root) {
    super();
  }

  // Request

  requestHeaders(context: u32, end: bool): HeadersStatus {
    this.arrivedAt = monotonicNanos();
    this.hasRequestBody = !end;
    this.session = readName(SESSION);
    this.target = readName(TARGET);
    // A tunnel names no path, so no route matches it and nobody is asked to judge it.
    if (this.session.byteLength == 0 || this.target.byteLength == 0) return this.refuse(isTunnel() ? NO_TUNNEL : NOT_JUDGED);
    if (!this.readPlan()) return this.refuse(PLAN_UNREADABLE);
    if (!this.cleanRequest()) return this.refuse(UPGRADE_UNMASKABLE);
    const admission = this.ask();
    if (admission == Admission.AWAY || admission == Admission.BUSY) {
      this.phase = Phase.WAITING;
      this.root.wait(this, context);
      return HeadersStatus.STOP_ALL_AND_WATERMARK;
    }
    return this.proceed(admission);
  }

  /** The plan of the decision; empty when nothing is to be masked. Its absence is no permission. */
  private readPlan(): bool {
    if (!property(PLAN)) return false;
    if (givenLength == 0) return true;
    decoded.reset();
    if (!decodeBase64(givenAt, givenLength, decoded)) return false;
    const plan = decodePlan(decoded.ptr, decoded.length);
    if (!plan) return false;
    if (plan.rules.length) this.plan = plan;
    this.record = plan.record;
    return true;
  }

  /** Takes away what must not reach the target; false when what the request asks for cannot be masked. */
  private cleanRequest(): bool {
    if (!pairs.read(HeaderMap.REQUEST)) return false;
    const masks = this.plan != null,
      records = this.record != null;
    let changed = false,
      read = false;
    block.reset();
    while (pairs.next()) {
      const name = pairs.name,
        length = pairs.nameLength;
      if (equals(name, length, METHOD)) {
        this.isHead = equals(pairs.value, pairs.valueLength, HEAD);
        read = this.isHead || equals(pairs.value, pairs.valueLength, GET);
        if (masks && equals(pairs.value, pairs.valueLength, CONNECT)) return false;
      }
      if (masks && equals(name, length, UPGRADE)) return false;
      if (records) this.noteRequest();
      if (
        isSluices(name, length) ||
        ((masks || records) && equals(name, length, ACCEPT_ENCODING)) ||
        (masks && (PARTIAL_REQUEST.has(name, length) || (read && CACHE_VALIDATION.has(name, length))))
      ) {
        changed = true;
        continue;
      }
      block.add(name, length, pairs.value, pairs.valueLength);
    }
    // What is recorded is read by people too.
    if (masks || records) block.addBytes(ACCEPT_ENCODING, IDENTITY);
    return masks || records || changed ? block.writeTo(HeaderMap.REQUEST) : true;
  }

  /** Of the header at hand: what the record says of the body. */
  private noteRequest(): void {
    if (equals(pairs.name, pairs.nameLength, CONTENT_TYPE)) this.requestType = copyOf(pairs.value, pairs.valueLength);
    else if (equals(pairs.name, pairs.nameLength, CONTENT_ENCODING)) this.requestCoding = copyOf(pairs.value, pairs.valueLength);
  }

  /** Bytes that the events of this exchange take at most. */
  private roomNeeded(): u32 {
    let room: u32 = 3 * (ENVELOPE_BYTES + this.session.byteLength + this.target.byteLength) + MAX_REASON + 128;
    const plan = this.plan;
    if (plan) for (let i = 0; i < plan.rules.length; i++) room += String.UTF8.byteLength(plan.rules[i].id) + 24;
    return room;
  }

  ask(): Admission {
    const room = this.roomNeeded(),
      emitter = this.root.emitter,
      record = this.record;
    let admission = emitter.admit(room);
    if (admission != Admission.ADMITTED) return admission;
    if (record) {
      admission = emitter.admitPayload(payloadRoom(record.maxResponse) + (this.hasRequestBody ? payloadRoom(record.maxRequest) : 0));
      if (admission != Admission.ADMITTED) {
        emitter.release(room);
        return admission;
      }
      this.beginRecord(record);
    }
    this.room = room;
    return admission;
  }

  private beginRecord(record: Record): void {
    const emitter = this.root.emitter;
    this.responseRecord = new Recorder(emitter, this.session, this.target, 0, Direction.RESPONSE, record.maxResponse);
    if (this.hasRequestBody) this.requestRecord = new Recorder(emitter, this.session, this.target, 0, Direction.REQUEST, record.maxRequest);
  }

  /** The sink is back, or the wait is over. */
  resume(admission: Admission): void {
    if (this.proceed(admission) == HeadersStatus.CONTINUE) continueStream(StreamType.REQUEST);
  }

  private proceed(admission: Admission): HeadersStatus {
    if (admission == Admission.AWAY) return this.refuse(TAP_AWAY);
    if (admission != Admission.ADMITTED) return this.refuse(TAP_FULL);
    this.phase = Phase.FORWARDED;
    const emitter = this.root.emitter;
    writeRequestForwarded(emitter.event(this.session, this.target));
    emitter.emit(true);
    return HeadersStatus.CONTINUE;
  }

  private refuse(problem: Problem): HeadersStatus {
    this.phase = Phase.REFUSED;
    this.status = problem.status;
    this.root.refused.add(1);
    problem.send(NONE, this.session);
    return HeadersStatus.STOP_ALL_AND_WATERMARK;
  }

  requestBody(size: u32, end: bool): DataStatus {
    const record = this.requestRecord;
    if (record && !record.over) this.recordRequest(record, size, end);
    this.requestBytes += size;
    return DataStatus.CONTINUE;
  }

  /** The body passes as it is; its record is masked, or says why there is none. */
  private recordRequest(recorder: Recorder, size: u32, end: bool): void {
    if (size) {
      if (this.requestBytes == 0 && !this.beginRequestRecord(recorder)) return;
      const masker = this.requestMasker,
        read = <u32>min<u64>(size, this.requestReach - this.requestBytes);
      if (!masker || !bufferBytes(BufferType.REQUEST_BODY, read) || givenLength != read) {
        recorder.stop(BODY_UNREADABLE);
        return;
      }
      recorded.reset();
      this.endRequestRecord(recorder, masker.write(givenAt, read, recorded), false);
      if (read < size) recorder.stopAtLimit();
    }
    if (end) this.requestEnded();
  }

  private beginRequestRecord(recorder: Recorder): bool {
    const record = this.record,
      coded = this.requestCoding.byteLength > 0;
    recorder.describe(this.requestType, this.requestCoding);
    // Further in, nothing can come out within the limit: at most a token is held back.
    if (record) this.requestReach = <u64>record.maxRequest + record.rules.maxTokenBytes;
    if (record && !coded)
      this.requestMasker = createRecordMasker(
        String.UTF8.decodeUnsafe(changetype<usize>(this.requestType), this.requestType.byteLength),
        record,
      );
    if (this.requestMasker) return true;
    recorder.stop(coded ? REQUEST_CODED : REQUEST_UNMASKABLE);
    return false;
  }

  private endRequestRecord(recorder: Recorder, status: Status, end: bool): void {
    recorder.write(recorded.ptr, recorded.length);
    if (status != Status.OK) recorder.stop(REQUEST_UNREADABLE);
    else if (end) recorder.end(true);
    if (recorder.over) this.requestMasker = null;
  }

  private requestEnded(): void {
    const recorder = this.requestRecord,
      masker = this.requestMasker;
    if (!recorder || recorder.over) return;
    recorded.reset();
    this.endRequestRecord(recorder, masker ? masker.end(recorded) : Status.OK, true);
  }

  /** The request was judged when its body had come: what follows it was seen by nobody, and goes no further (RFC 9110, 6.5.1, allows it). */
  requestTrailers(): TrailersStatus {
    this.requestEnded();
    block.reset();
    if (block.writeTo(HeaderMap.REQUEST_TRAILERS)) return TrailersStatus.CONTINUE;
    closeStream(StreamType.REQUEST);
    return TrailersStatus.STOP;
  }

  // Response

  responseHeaders(end: bool): HeadersStatus {
    // The gateway's own answer to a request that the target never saw.
    if (this.phase == Phase.WAITING) this.root.forget(this);
    if (this.phase != Phase.FORWARDED) return HeadersStatus.CONTINUE;
    const plan = this.plan;
    const reason = plan ? this.maskHeaders(plan, end) : this.stampHeaders();
    if (reason) {
      this.replace(reason);
      return HeadersStatus.STOP;
    }
    this.ended = end;
    this.begun = end || !this.masker || this.begun;
    return this.begun ? HeadersStatus.CONTINUE : HeadersStatus.STOP;
  }

  /** Nothing to mask: adds the session, and believes no `x-sluice-` header of the target. */
  private stampHeaders(): ArrayBuffer | null {
    if (!pairs.read(HeaderMap.RESPONSE)) return HEADERS_UNREADABLE;
    let contentType = NONE,
      contentEncoding = NONE;
    const recorder = this.responseRecord;
    while (pairs.next()) {
      if (equals(pairs.name, pairs.nameLength, STATUS)) this.status = this.number();
      else if (recorder && equals(pairs.name, pairs.nameLength, CONTENT_TYPE)) contentType = copyOf(pairs.value, pairs.valueLength);
      else if (recorder && equals(pairs.name, pairs.nameLength, CONTENT_ENCODING)) contentEncoding = copyOf(pairs.value, pairs.valueLength);
      else if (isSluices(pairs.name, pairs.nameLength)) removeHeader(HeaderMap.RESPONSE, copyOf(pairs.name, pairs.nameLength));
    }
    if (recorder) recorder.describe(contentType, contentEncoding);
    replaceHeader(HeaderMap.RESPONSE, SESSION_HEADER, this.session);
    return null;
  }

  private number(): u32 {
    let value: u32 = 0;
    for (let i: u32 = 0; i < pairs.valueLength; i++) value = value * 10 + (load<u8>(pairs.value + i) & 15);
    return value;
  }

  /** Writes the headers that may pass, and makes the masker; or says why the response may not. */
  private maskHeaders(plan: Plan, end: bool): ArrayBuffer | null {
    if (!pairs.read(HeaderMap.RESPONSE)) return HEADERS_UNREADABLE;
    let contentType = '',
      types = 0;
    block.reset();
    while (pairs.next()) {
      const name = pairs.name,
        length = pairs.nameLength,
        value = pairs.value,
        size = pairs.valueLength;
      if (equals(name, length, STATUS)) this.status = this.number();
      else if (equals(name, length, CONTENT_ENCODING)) {
        if (!equals(value, size, IDENTITY)) return CODED;
        continue;
      } else if (equals(name, length, CONTENT_RANGE)) return PARTIAL;
      else if (equals(name, length, CONTENT_TYPE)) {
        contentType = String.UTF8.decodeUnsafe(value, size);
        types++;
      } else if (ABOUT_THE_UNMASKED.has(name, length) || isSluices(name, length)) continue;
      if (!plan.detects || equals(name, length, STATUS)) {
        block.add(name, length, value, size);
        continue;
      }
      if (FRAMING.has(name, length)) {
        if (this.isClean(plan, value, size)) block.add(name, length, value, size);
        else if (equals(name, length, CONTENT_TYPE)) return UNKNOWN_TYPE;
        continue;
      }
      if (!this.addMasked(plan)) return HEADERS_UNMASKABLE;
    }
    const recorder = this.responseRecord;
    if (recorder) recorder.describe(String.UTF8.encode(contentType), NONE);
    block.addBytes(CACHE_CONTROL, PRIVATE_NO_STORE);
    block.addBytes(SESSION_HEADER, this.session);
    if (this.status == 101) return UPGRADED;
    if (this.status == 206) return PARTIAL;
    if (!(end || this.isHead || this.status == 204 || this.status == 304)) {
      if (types > 1) return AMBIGUOUS_TYPE;
      this.masker = createMasker(contentType, plan);
      if (!this.masker) return UNKNOWN_TYPE;
      // A client of events waits for the headers before the first event comes.
      this.begun = contentType.toLowerCase().startsWith('text/event-stream');
    }
    return block.writeTo(HeaderMap.RESPONSE) ? null : HEADERS_UNREADABLE;
  }

  responseBody(size: u32, end: bool): DataStatus {
    if (this.phase == Phase.REPLACED || this.phase == Phase.CUT) return this.drop(size);
    if (this.phase != Phase.FORWARDED) return DataStatus.CONTINUE;
    if (size && this.firstByteAt == 0) this.firstByteAt = monotonicNanos();
    const masker = this.masker;
    if (!masker) {
      // Without a plan all bytes may pass; with one and no masker there can be none.
      if (this.plan && size) return this.stop(UNKNOWN_TYPE, size);
      const recorder = this.responseRecord;
      if (recorder && size && !recorder.over) {
        // What is to be recorded and cannot be is withheld.
        if (!bufferBytes(BufferType.RESPONSE_BODY, size) || givenLength != size) return this.stop(BODY_UNREADABLE, size);
        recorder.write(givenAt, size);
      }
      this.responseBytes += size;
      this.ended = end;
      return DataStatus.CONTINUE;
    }
    out.reset();
    if (size && (!bufferBytes(BufferType.RESPONSE_BODY, size) || givenLength != size)) return this.stop(BODY_UNREADABLE, size);
    let status = size ? masker.write(givenAt, size, out) : Status.OK;
    if (status == Status.OK && end) status = masker.end(out);
    if (status != Status.OK) return this.stop(utf8(reasonOf(status)), size);
    if (!replaceBuffer(BufferType.RESPONSE_BODY, size, out.ptr, out.length)) return this.stop(BODY_UNREADABLE, size);
    // Buffering what is empty costs nothing, and lets trailers still put in what the masker holds back. But an empty piece may be Envoy's
    // decompressor, which adds trailers to its last: stopped there, Envoy would never deliver them, and the response would not end.
    if (out.length == 0 && !end && size) return DataStatus.STOP_AND_BUFFER;
    this.begun = true;
    this.ended = end;
    this.recordOut();
    return DataStatus.CONTINUE;
  }

  responseTrailers(): TrailersStatus {
    if (this.phase == Phase.REPLACED || this.phase == Phase.CUT) return TrailersStatus.STOP;
    if (this.phase != Phase.FORWARDED) return TrailersStatus.CONTINUE;
    const plan = this.plan,
      masker = this.masker;
    if (masker) {
      out.reset();
      const status = masker.end(out);
      if (status != Status.OK) return this.stopAtTrailers(utf8(reasonOf(status)));
      if (out.length && !replaceBuffer(BufferType.RESPONSE_BODY, 0, out.ptr, out.length)) return this.stopAtTrailers(TAIL_AT_TRAILERS);
    }
    if (plan && !this.maskTrailers(plan)) return this.stopAtTrailers(HEADERS_UNMASKABLE);
    if (masker) this.recordOut();
    this.begun = this.ended = true;
    return TrailersStatus.CONTINUE;
  }

  /** What has been masked passes to the client. */
  private recordOut(): void {
    const recorder = this.responseRecord;
    if (recorder) recorder.write(out.ptr, out.length);
    this.responseBytes += out.length;
  }

  private maskTrailers(plan: Plan): bool {
    if (!pairs.read(HeaderMap.RESPONSE_TRAILERS)) return false;
    block.reset();
    while (pairs.next()) {
      if (ABOUT_THE_UNMASKED.has(pairs.name, pairs.nameLength) || isSluices(pairs.name, pairs.nameLength)) continue;
      if (!this.addMasked(plan)) return false;
    }
    return block.writeTo(HeaderMap.RESPONSE_TRAILERS);
  }

  /** Adds the header at hand with its value masked; one whose name itself would have to be masked is left out. False when it cannot be masked. */
  private addMasked(plan: Plan): bool {
    const name = pairs.name,
      length = pairs.nameLength;
    if (!this.isClean(plan, name, length)) return true;
    text.reset();
    if (maskText(plan, pairs.value, pairs.valueLength, text) != Status.OK) return false;
    block.add(name, length, text.ptr, text.length);
    return true;
  }

  /** Whether there is nothing to be masked in a text that must stay as it is or go. */
  private isClean(plan: Plan, ptr: usize, length: u32): bool {
    text.reset();
    return maskText(plan, ptr, length, text) == Status.OK && text.length == length && memory.compare(text.ptr, ptr, length) == 0;
  }

  /** The body cannot go on: replaces the response if it has not begun, else cuts it; either way drops these bytes. */
  private stop(reason: ArrayBuffer, size: u32): DataStatus {
    if (this.begun) this.cut(reason);
    else this.replace(reason);
    return this.drop(size);
  }

  private stopAtTrailers(reason: ArrayBuffer): TrailersStatus {
    if (this.begun) this.cut(reason);
    else this.replace(reason);
    return TrailersStatus.STOP;
  }

  private drop(size: u32): DataStatus {
    if (size) replaceBuffer(BufferType.RESPONSE_BODY, size, 0, 0);
    return DataStatus.STOP_NO_BUFFER;
  }

  private replace(reason: ArrayBuffer): void {
    this.phase = Phase.REPLACED;
    this.reason = reason;
    this.status = RESPONSE_UNMASKABLE.status;
    this.masker = null;
    this.root.replaced.add(1);
    RESPONSE_UNMASKABLE.send(reason, this.session);
  }

  private cut(reason: ArrayBuffer): void {
    this.phase = Phase.CUT;
    this.reason = reason;
    this.masker = null;
    this.root.cut.add(1);
    closeStream(StreamType.RESPONSE);
  }

  // End

  /** The exchange is over, however it ended: records it, once. */
  finish(): void {
    if (this.recorded) return;
    this.recorded = true;
    if (this.phase == Phase.WAITING) this.root.forget(this);
    const request = this.requestRecord,
      response = this.responseRecord;
    if (request) request.end(false);
    if (response) response.end(this.ended);
    // Without a session there is nothing to record it under.
    if (this.session.byteLength && this.target.byteLength) this.report();
    this.root.emitter.release(this.room);
    this.plan = null;
    this.record = null;
    this.masker = this.requestMasker = null;
  }

  private report(): void {
    const now = monotonicNanos(),
      emitter = this.root.emitter,
      promised = this.room > 0;
    let closed = COMPLETE,
      outcome = COMPLETE;
    if (this.phase == Phase.CUT || this.phase == Phase.REPLACED || this.phase == Phase.REFUSED) {
      outcome = this.phase == Phase.CUT ? CUT : REPLACED;
      closed = FAILED;
    } else {
      // Envoy's own account of how the response ended.
      const known = property(CODE_DETAILS);
      const gone = known && (startsWith(givenAt, givenLength, DOWNSTREAM) || contains(givenAt, givenLength, REMOTE_RESET));
      if (!this.ended) outcome = RESET;
      if (!this.ended || (known && !equals(givenAt, givenLength, VIA_UPSTREAM))) {
        closed = gone ? CANCELLED : FAILED;
        if (known) this.reason = keepGiven();
      }
    }
    finished.outcome = outcome;
    finished.status = this.status;
    finished.requestBytes = this.requestBytes;
    finished.responseBytes = this.responseBytes;
    finished.durationMicros = (now - this.arrivedAt) / 1000;
    finished.firstByteMicros = this.firstByteAt ? (this.firstByteAt - this.arrivedAt) / 1000 : 0;
    finished.reason = this.reason;
    const w = emitter.event(this.session, this.target),
      body = openResponseFinished(w, finished),
      plan = this.plan;
    // Of a response that was withheld the client has nothing, masked or not.
    if (plan && outcome != REPLACED) {
      for (let i = 0; i < plan.rules.length; i++) {
        const rule = plan.rules[i];
        if (rule.count == 0) continue;
        writeMaskedField(w, rule.id, rule.count);
        this.root.masked.add(rule.count);
      }
    }
    w.close(body);
    emitter.emit(promised);
    writeSessionClosed(emitter.event(this.session, this.target), closed);
    emitter.emit(promised);
  }
}
