// The callbacks that Envoy's network filter makes (proxy-wasm ABI 0.2.1), and the tables of contexts. An entry exports all of these, and says with `serve` what it is.
import { callbackBegins, NetworkStatus, setTickPeriod } from '../abi/host';
import { FilteredConnection } from './connection';
import { StreamRoot } from './root';
import { protocolFor, software } from './serve';

export { proxy_on_memory_allocate } from '../abi/memory';

const roots = new Map<u32, StreamRoot>();
/** The root context of each stream context that has no connection yet. */
const parents = new Map<u32, u32>();
const connections = new Map<u32, FilteredConnection>();

export function proxy_abi_version_0_2_1(): void {}

export function proxy_on_context_create(context: u32, parent: u32): void {
  if (parent) parents.set(context, parent);
}

export function proxy_on_vm_start(root: u32, configurationSize: u32): u32 {
  return 1;
}

export function proxy_on_configure(root: u32, configurationSize: u32): u32 {
  callbackBegins();
  // The host names a root context by its configuration: again can only mean the same.
  if (roots.has(root)) return 1;
  const configured = StreamRoot.configure(root, configurationSize, software);
  if (!configured) return 0;
  roots.set(root, configured);
  return 1;
}

// Garbage. A collection walks all that is alive, so it costs as much as there are connections; a callback leaves a little garbage. Collecting after as many
// callbacks as there are connections costs each of them little, and keeps the garbage in proportion to what is alive.
let callbacks: u32 = 0;
let ticks: u32 = 0;
let pages: i32 = 0;
/** A second: garbage of a quiet time goes too. */
const MOST_TICKS: u32 = 20;

function collect(): void {
  if (callbacks == 0) return;
  ticks++;
  if (callbacks < <u32>connections.size && ticks < MOST_TICKS && memory.size() == pages) return;
  callbacks = ticks = 0;
  __collect();
  pages = memory.size();
}

export function proxy_on_tick(root: u32): void {
  callbackBegins();
  if (!roots.has(root)) return;
  // The one place where garbage is collected (the runtime is `minimal`: it keeps no record of what the stack refers to). Here nothing is on the stack, and
  // whatever is alive is reached from the tables above.
  if (roots.get(root).due) collect();
  callbacks += roots.get(root).tick();
}

export function proxy_on_grpc_receive_initial_metadata(root: u32, token: u32, headers: u32): void {}

export function proxy_on_grpc_receive(root: u32, token: u32, size: u32): void {
  callbackBegins();
  callbacks++;
  if (roots.has(root)) roots.get(root).received(token, size);
}

export function proxy_on_grpc_receive_trailing_metadata(root: u32, token: u32, trailers: u32): void {}

export function proxy_on_grpc_close(root: u32, token: u32, status: u32): void {
  callbackBegins();
  callbacks++;
  if (roots.has(root)) roots.get(root).closed(token, status);
}

export function proxy_on_new_connection(context: u32): u32 {
  callbackBegins();
  const parent = parents.has(context) ? parents.get(context) : 0;
  parents.delete(context);
  // No configured root: nothing could be asked. A trap is the host's "fail closed".
  if (!roots.has(parent)) unreachable();
  const connection = new FilteredConnection(context, roots.get(parent));
  connection.protocol = protocolFor(connection);
  connections.set(context, connection);
  callbacks++;
  return NetworkStatus.CONTINUE;
}

// A connection without an entry does not exist; whatever the host had for it must not pass.

export function proxy_on_downstream_data(context: u32, size: u32, end: u32): u32 {
  callbackBegins();
  if (!connections.has(context)) unreachable();
  callbacks++;
  return connections.get(context).downstreamData(size, end != 0);
}

export function proxy_on_upstream_data(context: u32, size: u32, end: u32): u32 {
  callbackBegins();
  if (!connections.has(context)) unreachable();
  callbacks++;
  return connections.get(context).upstreamData(size, end != 0);
}

export function proxy_on_downstream_connection_close(context: u32, peer: u32): void {
  callbackBegins();
  if (connections.has(context)) connections.get(context).end();
}

export function proxy_on_upstream_connection_close(context: u32, peer: u32): void {}

export function proxy_on_done(context: u32): u32 {
  callbackBegins();
  return roots.has(context) ? u32(roots.get(context).drain()) : 1;
}

export function proxy_on_log(context: u32): void {}

export function proxy_on_delete(context: u32): void {
  callbackBegins();
  parents.delete(context);
  if (connections.has(context)) {
    connections.get(context).end();
    connections.delete(context);
    callbacks++;
  } else if (roots.has(context)) {
    roots.get(context).free();
    roots.delete(context);
    setTickPeriod(0);
  }
}
