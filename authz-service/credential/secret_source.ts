import { type BigIntStats, closeSync, constants, fstatSync, openSync, readSync, statSync } from 'node:fs';
import { Secret } from './secret.ts';

/** Where a secret is: never in the configuration itself. */
export type SecretSource = { readonly env: string } | { readonly file: string };

export interface CredentialError {
  /** `secret_pending`: it is on its way. */
  readonly code: 'credential_unknown' | 'secret_pending' | 'secret_missing' | 'secret_unreadable' | 'secret_invalid';
  /** Names the target, the credential and the source; never a value. */
  readonly message: string;
}

export type SecretOutcome = { readonly secret: Secret } | { readonly error: CredentialError };

export const isError = <Outcome extends object>(
  outcome: Outcome | { readonly error: CredentialError },
): outcome is { readonly error: CredentialError } => 'error' in outcome;

/** Envoy's own limit for all headers of a request is 60 KiB; a credential has no business near it. */
const MAX_BYTES = 16 * 1024;
/** A changed file is seen by the first request this long after. */
const LOOK_EVERY_MS = 200;
/** File systems stamp times this coarsely at worst, so a file changed within it of being read may change again under the same stamp. */
const RACY_MS = 2000;

export interface SecretReader {
  /** The secret as it is now. The same object for as long as the secret has not changed, so what is made of it can be kept. */
  read(): SecretOutcome;
}

export interface SecretSurroundings {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Unix milliseconds. */
  readonly now: () => number;
}

export const secretReader = (source: SecretSource, surroundings: SecretSurroundings): SecretReader =>
  'env' in source ? new EnvironmentSecret(source.env, surroundings.env) : new FileSecret(source.file, surroundings.now);

class EnvironmentSecret implements SecretReader {
  readonly #outcome: SecretOutcome;

  constructor(name: string, env: SecretSurroundings['env']) {
    const value = env[name];
    const source = `environment variable ${name}`;
    this.#outcome = value === undefined ? failed('secret_missing', `${source} is not set`) : checked(value, source);
  }

  read(): SecretOutcome {
    return this.#outcome;
  }
}

/**
 * A file, looked at again when a request needs it: at most five `stat`s a second, and no watch that could miss a change. What is compared is what the path
 * leads to, so an atomic rename and the symbolic link that Kubernetes swaps are seen as well as a write in place.
 */
class FileSecret implements SecretReader {
  readonly #path: string;
  readonly #now: () => number;
  #outcome: SecretOutcome = failed('secret_missing', 'not read yet');
  #lookedAt = Number.NEGATIVE_INFINITY;
  /** Of the file that `#outcome` was read from; empty when it must be read again whatever its stamp. */
  #stamp = '';

  constructor(path: string, now: () => number) {
    this.#path = path;
    this.#now = now;
  }

  read(): SecretOutcome {
    const now = this.#now();
    if (Math.abs(now - this.#lookedAt) >= LOOK_EVERY_MS) {
      this.#lookedAt = now;
      this.#look();
    }
    return this.#outcome;
  }

  #look(): void {
    try {
      if (this.#stamp !== '' && stampOf(statSync(this.#path, { bigint: true })) === this.#stamp) return;
      this.#adopt(this.#load());
    } catch (error) {
      const { code = 'unknown error' } = error as NodeJS.ErrnoException;
      this.#stamp = '';
      this.#outcome = failed(code === 'ENOENT' ? 'secret_missing' : 'secret_unreadable', `file ${this.#path} cannot be read (${code})`);
    }
  }

  #adopt(outcome: SecretOutcome): void {
    const same = !isError(outcome) && !isError(this.#outcome) && outcome.secret.reveal() === this.#outcome.secret.reveal();
    if (!same) this.#outcome = outcome;
  }

  /** One descriptor for stamp and content, so both are of the same file; without blocking, since the path may lead to a pipe. */
  #load(): SecretOutcome {
    const source = `file ${this.#path}`;
    this.#stamp = '';
    const descriptor = openSync(this.#path, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      const stat = fstatSync(descriptor, { bigint: true });
      if (!stat.isFile()) return failed('secret_unreadable', `${source} is no regular file`);
      const bytes = Buffer.alloc(MAX_BYTES + 1);
      let size = 0;
      for (let got = -1; got !== 0 && size < bytes.length; size += got) got = readSync(descriptor, bytes, size, bytes.length - size, null);
      if (size > MAX_BYTES) return failed('secret_invalid', `${source} is larger than ${MAX_BYTES} bytes`);
      const outcome = checked(bytes.toString('utf8', 0, size).replace(/\r?\n$/, ''), source);
      if (Math.abs(Date.now() - Number(stat.ctimeMs)) > RACY_MS) this.#stamp = stampOf(stat);
      return outcome;
    } finally {
      closeSync(descriptor);
    }
  }
}

const stampOf = ({ dev, ino, size, mtimeNs, ctimeNs }: BigIntStats): string => `${dev}:${ino}:${size}:${mtimeNs}:${ctimeNs}`;

export const failed = (code: CredentialError['code'], message: string) => ({ error: { code, message } });

/** A secret that is empty, or that no header can carry as it is, must not leave as something else. */
function checked(value: string, source: string): SecretOutcome {
  if (value === '') return failed('secret_invalid', `${source} is empty`);
  if (Buffer.byteLength(value) > MAX_BYTES) return failed('secret_invalid', `${source} is larger than ${MAX_BYTES} bytes`);
  if (/[\p{Cc}\uFFFD]/u.test(value))
    return failed('secret_invalid', `${source} has control characters, more than one line, or is not UTF-8`);
  if (value.trim() !== value) return failed('secret_invalid', `${source} begins or ends with a space`);
  return { secret: new Secret(value) };
}
