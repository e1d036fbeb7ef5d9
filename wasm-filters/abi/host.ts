// The host's functions as the filters use them. Bytes that the host returns are the span (`givenAt`, `givenLength`), valid until the next call that returns bytes.
import { at, ByteBuffer, copyOf } from './bytes';
import * as host from './hostcalls';

export const enum Result {
  OK = 0,
  NOT_FOUND = 1,
  BAD_ARGUMENT = 2,
}
export const enum LogLevel {
  TRACE,
  DEBUG,
  INFO,
  WARN,
  ERROR,
  CRITICAL,
}
export const enum StreamType {
  REQUEST,
  RESPONSE,
  DOWNSTREAM,
  UPSTREAM,
}
export const enum BufferType {
  REQUEST_BODY = 0,
  RESPONSE_BODY = 1,
  DOWNSTREAM_DATA = 2,
  UPSTREAM_DATA = 3,
  GRPC_RECEIVE = 5,
  PLUGIN_CONFIGURATION = 7,
}
export const enum MetricType {
  COUNTER,
  GAUGE,
  HISTOGRAM,
}
/** Of headers: with `allow_on_headers_stop_iteration`, STOP waits for the body's callbacks, STOP_ALL holds body and trailers too. */
export const enum HeadersStatus {
  CONTINUE = 0,
  STOP = 1,
  STOP_ALL_AND_WATERMARK = 4,
}
export const enum DataStatus {
  CONTINUE = 0,
  STOP_AND_BUFFER = 1,
  STOP_NO_BUFFER = 3,
}
/** Of a network filter's data: stopped bytes stay in the host's buffer and are shown again with those that follow. */
export const enum NetworkStatus {
  CONTINUE = 0,
  STOP = 1,
}
export const enum TrailersStatus {
  CONTINUE = 0,
  STOP = 1,
}

const slot = memory.data(16, 8);

export let givenAt: usize = 0;
export let givenLength: u32 = 0;

function given(result: u32): bool {
  const ok = result == Result.OK;
  givenAt = ok ? <usize>load<u32>(slot) : 0;
  givenLength = ok ? load<u32>(slot, 4) : 0;
  return ok;
}

/** Path segments are separated by NUL. */
export function property(path: ArrayBuffer): bool {
  return given(host.proxy_get_property(at(path), path.byteLength, slot, slot + 4));
}

/** A header's value; of several with that name, the host's choice. False when there is none. */
export function header(map: u32, name: ArrayBuffer): bool {
  return given(host.proxy_get_header_map_value(map, at(name), name.byteLength, slot, slot + 4));
}

/** A copy of the bytes that the host returned last. */
export function keepGiven(): ArrayBuffer {
  return copyOf(givenAt, givenLength);
}

export function bufferBytes(buffer: BufferType, length: u32): bool {
  return given(host.proxy_get_buffer_bytes(buffer, 0, length, slot, slot + 4));
}

/** Puts `length` bytes in the place of all `replaced` bytes of the buffer. */
export function replaceBuffer(buffer: BufferType, replaced: u32, ptr: usize, length: u32): bool {
  return host.proxy_set_buffer_bytes(buffer, 0, replaced, ptr, length) == Result.OK;
}

/** Now, in nanoseconds since the Unix epoch. */
export function unixNanos(): u64 {
  host.clock_time_get(0, 1, slot);
  return load<u64>(slot);
}

/** Nanoseconds of a clock that never steps. */
export function monotonicNanos(): u64 {
  if (timeOfCallback) return timeOfCallback;
  host.clock_time_get(1, 1, slot);
  const now = load<u64>(slot);
  if (timeStands) timeOfCallback = now;
  return now;
}

let timeStands: bool = false;
let timeOfCallback: u64 = 0;

/** For a filter that asks for the time again and again in short callbacks: from now on it is asked for once, until this is called again. To be called as each begins. */
export function callbackBegins(): void {
  timeStands = true;
  timeOfCallback = 0;
}

export function randomBytes(count: u32): ArrayBuffer {
  const bytes = new ArrayBuffer(count);
  if (host.random_get(at(bytes), count) != 0) unreachable();
  return bytes;
}

export function log(level: LogLevel, message: string): void {
  const text = String.UTF8.encode(message);
  host.proxy_log(level, at(text), text.byteLength);
}

export function continueStream(stream: StreamType): void {
  host.proxy_continue_stream(stream);
}

/** Resets the stream: the peer sees that it was not completed. */
export function closeStream(stream: StreamType): void {
  host.proxy_close_stream(stream);
}

/** The context that following hostcalls are about, until the callback returns. */
export function actAs(context: u32): void {
  host.proxy_set_effective_context(context);
}

export function setTickPeriod(milliseconds: u32): void {
  host.proxy_set_tick_period_milliseconds(milliseconds);
}

/** Ends a root context whose `proxy_on_done` answered "not yet". */
export function done(): void {
  host.proxy_done();
}

export class Metric {
  private id: u32 = 0;
  private defined: bool;

  constructor(kind: MetricType, name: string) {
    const text = String.UTF8.encode(name);
    this.defined = host.proxy_define_metric(kind, at(text), text.byteLength, slot) == Result.OK;
    this.id = load<u32>(slot);
  }

  /** Gauges are added to as well, not set: the VMs of all workers share them. */
  add(change: i64): void {
    if (this.defined && change != 0) host.proxy_increment_metric(this.id, change);
  }
}

/** envoy.config.core.v3.GrpcService { envoy_grpc (1) { cluster_name (1) } }, lengths below 128. */
function grpcService(cluster: ArrayBuffer): ArrayBuffer {
  const n = cluster.byteLength,
    service = new ArrayBuffer(n + 4);
  store<u32>(at(service), 0x0a | ((n + 2) << 8) | (0x0a << 16) | (n << 24));
  memory.copy(at(service) + 4, at(cluster), n);
  return service;
}

/** A gRPC stream to a cluster; its callbacks come to the root context, with the token. 0: could not be opened. */
export function openGrpcStream(cluster: ArrayBuffer, service: ArrayBuffer, method: ArrayBuffer): u32 {
  const target = grpcService(cluster),
    result = host.proxy_grpc_stream(
      at(target),
      target.byteLength,
      at(service),
      service.byteLength,
      at(method),
      method.byteLength,
      0,
      0,
      slot,
    );
  return result == Result.OK ? load<u32>(slot) : 0;
}

/** One question to a cluster; its answer, or its failure, comes to the root context with the token, once. `timeout` in milliseconds. 0: could not be asked. */
export function callGrpc(cluster: ArrayBuffer, service: ArrayBuffer, method: ArrayBuffer, ptr: usize, length: u32, timeout: u32): u32 {
  const target = grpcService(cluster),
    result = host.proxy_grpc_call(
      at(target),
      target.byteLength,
      at(service),
      service.byteLength,
      at(method),
      method.byteLength,
      0,
      0,
      ptr,
      length,
      timeout,
      slot,
    );
  return result == Result.OK ? load<u32>(slot) : 0;
}

export function sendGrpc(token: u32, ptr: usize, length: u32): bool {
  return host.proxy_grpc_send(token, ptr, length, 0) == Result.OK;
}

/** Ends a stream or a call and forgets it. Of streams needed after the peer has closed too: the host keeps a stream until both sides are done with it. */
export function cancelGrpc(token: u32): void {
  host.proxy_grpc_cancel(token);
}

/** `grpcStatus` -1: as the HTTP status says. `details` becomes %RESPONSE_CODE_DETAILS%. */
export function sendLocalResponse(status: u32, details: ArrayBuffer, body: ByteBuffer, headers: ByteBuffer): void {
  host.proxy_send_local_response(status, at(details), details.byteLength, body.ptr, body.length, headers.ptr, headers.length, -1);
}
