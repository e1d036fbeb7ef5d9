/** Why the gateway does not get into the target. The text is for the client too: it holds no secret, and nothing that the target wrote but codes. */
export class LogInError extends Error {
  readonly code: 'malformed' | 'refused' | 'unproven' | 'unsupported';

  constructor(code: LogInError['code'], message: string) {
    super(message);
    this.name = 'LogInError';
    this.code = code;
  }
}
