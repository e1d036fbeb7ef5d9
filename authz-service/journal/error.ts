/** Why a journal refuses: what a caller may decide on. The text is for people. */
export type JournalErrorCode =
  /** Another process (or another opening in this one) writes this directory. */
  | 'locked'
  /** Bytes that were durable are no longer what was written. Nothing is repaired; the text says which file and offset. */
  | 'corrupt'
  /** The device is full; the journal tries again by itself and may become healthy. */
  | 'full'
  /** A write failed in a way after which the disk's content is not known. Only opening the journal again helps. */
  | 'failed'
  /** One record exceeds the journal's bound. */
  | 'too_large'
  /** More bytes wait for the disk than the journal's bound allows. */
  | 'backlog'
  /** The journal was closed. */
  | 'closed';

export class JournalError extends Error {
  readonly code: JournalErrorCode;

  constructor(code: JournalErrorCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'JournalError';
    this.code = code;
  }
}

/** Whether the operating system says that a path names nothing. */
export const isMissing = (error: unknown): boolean => {
  const code = (error as NodeJS.ErrnoException | undefined)?.code;
  return code === 'ENOENT' || code === 'ENOTDIR';
};

/** Whether the operating system says that there is no room (of blocks, of inodes, of quota). */
export const isFull = (error: unknown): boolean => {
  const code = (error as NodeJS.ErrnoException | undefined)?.code;
  return code === 'ENOSPC' || code === 'EDQUOT';
};
