/** `syntax`: PostgreSQL's parser refuses the text. `too_large`: a bound of the analysis. `timeout`: no answer in time. `unsupported`: the text cannot be looked at at all. */
export type AnalysisErrorCode = 'syntax' | 'too_large' | 'timeout' | 'unsupported';

/** The only error that an analysis ends with. Its message is for the caller; it may quote the caller's own text. */
export class AnalysisError extends Error {
  readonly code: AnalysisErrorCode;
  /** Where the parser stopped: characters of the text, from 1. */
  readonly position?: number;

  constructor(code: AnalysisErrorCode, message: string, position?: number) {
    super(message);
    this.name = 'AnalysisError';
    this.code = code;
    if (position !== undefined) this.position = position;
  }
}
