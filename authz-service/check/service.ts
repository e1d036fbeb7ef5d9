import type { UnaryMethod } from '../unary_server.ts';
import { type CheckPorts, check } from './check.ts';
import { decodeCheckRequest, encodeCheckResponse } from './codec.ts';

/** `envoy.service.auth.v3.Authorization`, the side that answers, over the pipeline. */
export function checkMethod(ports: CheckPorts): UnaryMethod {
  return {
    path: '/envoy.service.auth.v3.Authorization/Check',
    call: (message, onGone) => check(ports, decodeCheckRequest(message), onGone).then(encodeCheckResponse),
  };
}
