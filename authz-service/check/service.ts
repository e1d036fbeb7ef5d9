import type * as grpc from '@grpc/grpc-js';
import { type CheckPorts, check } from './check.ts';
import { authorizationService, type CheckRequest, type CheckResponse } from './envoy_proto.ts';

/** `envoy.service.auth.v3.Authorization` over the pipeline; add it to a grpc-js server. */
export function checkService(ports: CheckPorts): { definition: grpc.ServiceDefinition; implementation: grpc.UntypedServiceImplementation } {
  return {
    definition: authorizationService,
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
