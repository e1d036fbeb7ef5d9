// Calls to the door, and what a root context has to know of the connections that they are for.
import { ByteBuffer, utf8 } from '../abi/bytes';
import { callGrpc } from '../abi/host';
import { DoorMethod } from './protocol';

const DOOR = utf8('sluice.session.v1.SessionDoor');
/** By `DoorMethod`. */
const METHODS: StaticArray<ArrayBuffer> = [
  utf8('Open'),
  utf8('LogIn'),
  utf8('Ready'),
  utf8('Judge'),
  utf8('Await'),
  utf8('Cancel'),
  utf8('Close'),
  utf8('Generation'),
  utf8('Refused'),
];
/** Milliseconds; 0: as long as it takes, for people may be asked. */
const TIMEOUTS: StaticArray<u32> = [0, 30_000, 30_000, 30_000, 0, 30_000, 30_000, 10_000, 30_000];

/** The call's token, or 0. */
export function callDoor(door: ArrayBuffer, method: DoorMethod, request: ByteBuffer): u32 {
  return callGrpc(door, DOOR, METHODS[method], request.ptr, request.length, TIMEOUTS[method]);
}

/** A question that the door has not answered. */
export class Call {
  /** `connection` null: nobody waits for the answer. */
  constructor(
    public connection: Attended | null,
    public token: u32,
    public tag: u32,
  ) {}
}

/** A connection, as its root context attends to it. All but the first two are called as the effective context of the connection. */
export interface Attended {
  readonly context: u32;
  readonly ended: bool;
  closeNow(): void;
  ticked(now: u64): void;
  /** `status` a `GrpcStatus`; the answer's bytes, where there are any, stay until the next hostcall. */
  answered(call: Call, status: u32, ptr: usize, length: u32): void;
}
