// Entry of build/sluice-http.wasm: the callbacks that Envoy's HTTP filter makes (proxy-wasm ABI 0.2.1), and the tables of contexts.
import { setTickPeriod } from '../abi/host';
import { Exchange } from './exchange';
import { Root } from './root';

export { proxy_on_memory_allocate } from '../abi/memory';

const SOFTWARE = 'sluice-http/0.1';

const roots = new Map<u32, Root>();
/** The root context of each stream context that has no exchange yet. */
const parents = new Map<u32, u32>();
const exchanges = new Map<u32, Exchange>();

export function proxy_abi_version_0_2_1(): void {}

export function proxy_on_context_create(context: u32, parent: u32): void {
  if (parent) parents.set(context, parent);
}

export function proxy_on_vm_start(root: u32, configurationSize: u32): u32 {
  return 1;
}

export function proxy_on_configure(root: u32, configurationSize: u32): u32 {
  // The host names a root context by its configuration: again can only mean the same.
  if (roots.has(root)) return 1;
  const configured = Root.configure(root, configurationSize, SOFTWARE);
  if (!configured) return 0;
  roots.set(root, configured);
  return 1;
}

export function proxy_on_tick(root: u32): void {
  // The one place where garbage is collected (the runtime is `minimal`: it keeps no record of what the stack refers to, which would halve
  // the speed of masking). Here nothing is on the stack, and whatever is alive is reached from the tables above.
  __collect();
  if (roots.has(root)) roots.get(root).tick();
}

export function proxy_on_grpc_receive_initial_metadata(root: u32, token: u32, headers: u32): void {}

export function proxy_on_grpc_receive(root: u32, token: u32, size: u32): void {
  if (roots.has(root)) roots.get(root).received(token, size);
}

export function proxy_on_grpc_receive_trailing_metadata(root: u32, token: u32, trailers: u32): void {}

export function proxy_on_grpc_close(root: u32, token: u32, status: u32): void {
  if (roots.has(root)) roots.get(root).emitter.closed(token, status);
}

export function proxy_on_request_headers(context: u32, count: u32, end: u32): u32 {
  const parent = parents.has(context) ? parents.get(context) : 0;
  parents.delete(context);
  // No configured root: nothing could be recorded. A trap is the host's "fail closed".
  if (!roots.has(parent)) unreachable();
  const exchange = new Exchange(roots.get(parent));
  exchanges.set(context, exchange);
  return exchange.requestHeaders(context, end != 0);
}

export function proxy_on_request_body(context: u32, size: u32, end: u32): u32 {
  return exchanges.has(context) ? exchanges.get(context).requestBody(size, end != 0) : 0;
}

export function proxy_on_request_trailers(context: u32, count: u32): u32 {
  return exchanges.has(context) ? exchanges.get(context).requestTrailers() : 0;
}

// An exchange that was answered before it came to this filter (denied, no route, too large) has no entry: its answer passes as it is.

export function proxy_on_response_headers(context: u32, count: u32, end: u32): u32 {
  return exchanges.has(context) ? exchanges.get(context).responseHeaders(end != 0) : 0;
}

export function proxy_on_response_body(context: u32, size: u32, end: u32): u32 {
  return exchanges.has(context) ? exchanges.get(context).responseBody(size, end != 0) : 0;
}

export function proxy_on_response_trailers(context: u32, count: u32): u32 {
  return exchanges.has(context) ? exchanges.get(context).responseTrailers() : 0;
}

export function proxy_on_done(context: u32): u32 {
  return roots.has(context) ? u32(roots.get(context).drain()) : 1;
}

/** Envoy makes a context only to log a request that no filter saw, and never deletes it. */
export function proxy_on_log(context: u32): void {
  parents.delete(context);
  if (exchanges.has(context)) exchanges.get(context).finish();
}

export function proxy_on_delete(context: u32): void {
  parents.delete(context);
  if (exchanges.has(context)) {
    exchanges.get(context).finish();
    exchanges.delete(context);
  } else if (roots.has(context)) {
    roots.get(context).free();
    roots.delete(context);
    setTickPeriod(0);
  }
}
