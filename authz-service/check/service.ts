import type * as grpc from '@grpc/grpc-js';
import { type CheckPorts, check } from './check.ts';
import { decodeCheckRequest, encodeCheckResponse } from './codec.ts';
import type { CheckRequest, CheckResponse } from './envoy_proto.ts';

/** `envoy.service.auth.v3.Authorization`, the side that answers. */
const definition: grpc.ServiceDefinition = {
  Check: {
    path: '/envoy.service.auth.v3.Authorization/Check',
    requestStream: false,
    responseStream: false,
    requestDeserialize: decodeCheckRequest,
    responseSerialize: encodeCheckResponse,
    requestSerialize: theOtherSide,
    responseDeserialize: theOtherSide,
  },
};

function theOtherSide(): never {
  throw new Error('this is the side that answers');
}

/** `envoy.service.auth.v3.Authorization` over the pipeline; add it to a grpc-js server. */
export function checkService(ports: CheckPorts): { definition: grpc.ServiceDefinition; implementation: grpc.UntypedServiceImplementation } {
  return {
    definition,
    implementation: {
      Check(call: grpc.ServerUnaryCall<CheckRequest, CheckResponse>, reply: grpc.sendUnaryData<CheckResponse>) {
        const onGone = (callback: () => void): void => {
          if (call.cancelled) callback();
          else call.once('cancelled', callback);
        };
        check(ports, call.request, onGone).then((response) => reply(null, response));
      },
    },
  };
}
