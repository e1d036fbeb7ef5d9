export type ApprovalErrorCode =
  /** As many requests are held as may be. */
  | 'too_many_held'
  /** The store or the tap did not take it: nothing was held, answered or released. */
  | 'not_durable'
  | 'store_unreadable'
  /** It is approved, and nothing may be set free at present. */
  | 'withheld'
  /** The service is stopping. */
  | 'closed';

export class ApprovalError extends Error {
  readonly code: ApprovalErrorCode;

  constructor(code: ApprovalErrorCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'ApprovalError';
    this.code = code;
  }
}
