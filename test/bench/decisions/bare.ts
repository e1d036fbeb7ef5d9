/** `bare.ts SOCKET ANSWER`: a server of grpc-js that answers every Check with a constant: the bytes of a CheckResponse, base64. */
import * as grpc from '@grpc/grpc-js';
import { serve } from './child.ts';
import { envoyAuthorization } from './stock_codec.ts';

const answer = envoyAuthorization.Check.responseDeserialize(Buffer.from(process.argv[3] ?? '', 'base64'));
const server = new grpc.Server();
server.addService(envoyAuthorization, { Check: (_: unknown, reply: grpc.sendUnaryData<object>) => reply(null, answer) });
server.bindAsync(`unix:${process.argv[2]}`, grpc.ServerCredentials.createInsecure(), (error) => {
  if (error) throw error;
  serve();
});
