// The host's functions, proxy-wasm ABI 0.2.1, one declaration each: https://github.com/proxy-wasm/spec/tree/main/abi-versions/v0.2.1
// Every one answers a `Result`. Callers use host.ts; this file alone has top-level decorators.

@external("env", "proxy_log") export declare function proxy_log(level: u32, message: usize, size: usize): u32;
@external("env", "proxy_get_property") export declare function proxy_get_property(path: usize, size: usize, value: usize, valueSize: usize): u32;
@external("env", "proxy_get_buffer_bytes") export declare function proxy_get_buffer_bytes(buffer: u32, start: usize, length: usize, data: usize, size: usize): u32;
@external("env", "proxy_set_buffer_bytes") export declare function proxy_set_buffer_bytes(buffer: u32, start: usize, length: usize, data: usize, size: usize): u32;
@external("env", "proxy_get_header_map_value") export declare function proxy_get_header_map_value(map: u32, name: usize, nameSize: usize, value: usize, valueSize: usize): u32;
@external("env", "proxy_replace_header_map_value") export declare function proxy_replace_header_map_value(map: u32, name: usize, nameSize: usize, value: usize, valueSize: usize): u32;
@external("env", "proxy_remove_header_map_value") export declare function proxy_remove_header_map_value(map: u32, name: usize, nameSize: usize): u32;
@external("env", "proxy_get_header_map_pairs") export declare function proxy_get_header_map_pairs(map: u32, pairs: usize, size: usize): u32;
@external("env", "proxy_set_header_map_pairs") export declare function proxy_set_header_map_pairs(map: u32, pairs: usize, size: usize): u32;
@external("env", "proxy_send_local_response") export declare function proxy_send_local_response(status: u32, details: usize, detailsSize: usize, body: usize, bodySize: usize, pairs: usize, pairsSize: usize, grpcStatus: i32): u32;
@external("env", "proxy_continue_stream") export declare function proxy_continue_stream(stream: u32): u32;
@external("env", "proxy_close_stream") export declare function proxy_close_stream(stream: u32): u32;
@external("env", "proxy_set_effective_context") export declare function proxy_set_effective_context(context: u32): u32;
@external("env", "proxy_set_tick_period_milliseconds") export declare function proxy_set_tick_period_milliseconds(period: u32): u32;
@external("env", "proxy_done") export declare function proxy_done(): u32;
@external("env", "proxy_define_metric") export declare function proxy_define_metric(kind: u32, name: usize, nameSize: usize, metric: usize): u32;
@external("env", "proxy_increment_metric") export declare function proxy_increment_metric(metric: u32, offset: i64): u32;
@external("env", "proxy_grpc_stream") export declare function proxy_grpc_stream(target: usize, targetSize: usize, service: usize, serviceSize: usize, method: usize, methodSize: usize, metadata: usize, metadataSize: usize, token: usize): u32;
@external("env", "proxy_grpc_call") export declare function proxy_grpc_call(target: usize, targetSize: usize, service: usize, serviceSize: usize, method: usize, methodSize: usize, metadata: usize, metadataSize: usize, message: usize, messageSize: usize, timeout: u32, token: usize): u32;
@external("env", "proxy_grpc_send") export declare function proxy_grpc_send(token: u32, message: usize, size: usize, endStream: u32): u32;
@external("env", "proxy_grpc_cancel") export declare function proxy_grpc_cancel(token: u32): u32;
@external("wasi_snapshot_preview1", "clock_time_get") export declare function clock_time_get(clock: u32, precision: u64, nanos: usize): u32;
@external("wasi_snapshot_preview1", "random_get") export declare function random_get(data: usize, size: usize): u32;
