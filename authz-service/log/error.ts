/** Why the log refuses: what a caller may decide on. The text is for people. Failures of its journal come as the journal's own errors. */
export type LogErrorCode =
  /** Bytes that are not what their format says. */
  | 'malformed'
  /** What stands somewhere is not what was written there: a tile, a bundle, a detail that its leaf does not commit to. */
  | 'corrupt'
  /** No configured key has signed the newest checkpoint, or there is no key for a log that is there. */
  | 'key'
  /** The log that is there has another name. */
  | 'origin'
  /** Less is there than a checkpoint says that there was. */
  | 'rolled_back'
  /** Two states of the log that do not continue one another: going on would fork it. */
  | 'forked'
  /** A copy has leaves that nobody has signed, and it was not said that this key should. */
  | 'unsigned'
  /** There is nothing where a log must be. */
  | 'missing'
  /** Leaves that were pruned from the front. */
  | 'pruned'
  /** It was demanded that others confirm the log, and they did not. */
  | 'unconfirmed'
  /** The directory holds the record of an earlier version. */
  | 'old_format'
  /** A later version has written here what this one would not keep whole. */
  | 'newer';

export class LogError extends Error {
  readonly code: LogErrorCode;

  constructor(code: LogErrorCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'LogError';
    this.code = code;
  }
}
