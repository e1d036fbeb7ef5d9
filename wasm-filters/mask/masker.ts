// The door of the masking core: one masker per response body, chosen by its content type.
import { Plan } from './plan';
import { ByteSink } from './sink';
import { Status } from './status';

export { ByteSink } from './sink';
export { reasonOf, Status } from './status';

export abstract class Masker {
  /** Takes the next chunk of the body and appends to `out` what is known to be safe. After anything but OK, drop all and call no more. */
  abstract write(ptr: usize, len: i32, out: ByteSink): Status;
  /** The body is complete: appends what was held back. */
  abstract end(out: ByteSink): Status;
}

/** The masker for a body of this content type, or null when its type or charset cannot be masked under the plan: refuse the response. */
export function createMasker(contentType: string, plan: Plan): Masker | null {
  return null;
}

/** Masks one complete text (a header value, a log line) by the plan's detectors; path rules do not apply. */
export function maskText(plan: Plan, ptr: usize, len: i32, out: ByteSink): Status {
  return Status.UNMASKABLE;
}
