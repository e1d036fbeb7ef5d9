/** The masking core in Node: the code that runs inside the filter (wasm-filters/mask/), as a plain module. Synchronous once loaded. */
import { readFile } from 'node:fs/promises';
import { encodePlan } from './encode.ts';
import { type MaskRule, RECORD_RULES } from './rule.ts';

export { encodePlan, type RecordPlan } from './encode.ts';
export { DETECTORS, type MaskRule, type Selector } from './rule.ts';

/** By their number in wasm-filters/mask/status.ts. */
const STATUSES = ['ok', 'malformed', 'token_too_long', 'too_deep', 'unmaskable', 'pattern_too_costly'] as const;
export type MaskErrorCode = Exclude<(typeof STATUSES)[number], 'ok'> | 'invalid_plan' | 'unsupported_type';

/** Nothing was masked, and nothing of the input may be shown. */
export class MaskError extends Error {
  readonly code: MaskErrorCode;

  constructor(code: MaskErrorCode, message: string) {
    super(message);
    this.name = 'MaskError';
    this.code = code;
  }
}

/** Exports of wasm-filters/mask/module.ts. */
interface Core {
  readonly memory: WebAssembly.Memory;
  inputFor(length: number): number;
  outputAt(): number;
  outputLength(): number;
  loadPlan(length: number): number;
  countOf(rule: number): bigint;
  resetCounts(): void;
  begin(length: number): number;
  write(length: number): number;
  end(): number;
  text(length: number): number;
  reason(status: number): void;
  checkPath(length: number): number;
  checkPattern(length: number): number;
  collect(): void;
}

export interface MaskedBody {
  readonly bytes: Buffer;
  /** Values masked by each rule, in the rules' order. */
  readonly counts: readonly number[];
}

/** Masks what people are shown of a request. Its functions never throw: what cannot be masked is left out whole. */
export interface Recorder {
  json(text: string): string;
  text(text: string): string;
}

/** The core collects its garbage when it is told to: after so many calls that leave some. */
const CALLS_TO_COLLECT = 64;

const MODULE = new URL('../../build/mask.wasm', import.meta.url);

/** Compiles and starts the core; `module` is where it is. Rejects when it has not been built. */
export async function loadMask(module: URL | string = MODULE): Promise<Mask> {
  const code = await readFile(module).catch((cause: unknown) => {
    throw new Error('build/mask.wasm is missing: run npm run build:wasm', { cause });
  });
  const instance = new WebAssembly.Instance(new WebAssembly.Module(code));
  return new Mask(instance.exports as unknown as Core);
}

export class Mask {
  readonly #core: Core;
  #memory: Buffer;
  #calls = 0;
  /** The rules that the core has compiled. */
  #loaded: readonly MaskRule[] | undefined;

  constructor(core: Core) {
    this.#core = core;
    this.#memory = Buffer.from(core.memory.buffer);
  }

  /** What the core's memory takes. */
  get memoryBytes(): number {
    return this.#core.memory.buffer.byteLength;
  }

  /** Masks one complete text by the rules' detectors and patterns. Rules by path do not apply. Throws a `MaskError`. */
  text(text: string, rules: readonly MaskRule[]): string {
    this.#load(rules);
    this.#settle(this.#core.text(this.#put(text)));
    return this.#output().toString();
  }

  /** Masks one JSON document. Throws a `MaskError`. */
  json(text: string, rules: readonly MaskRule[]): string {
    this.#load(rules);
    this.#begin('application/json');
    this.#settle(this.#core.write(this.#put(text)));
    const masked = Buffer.from(this.#output());
    this.#settle(this.#core.end());
    return Buffer.concat([masked, this.#output()]).toString();
  }

  /** Masks a body of any type that the filter masks, given in chunks. Throws a `MaskError`. */
  body(contentType: string, chunks: Iterable<Uint8Array>, rules: readonly MaskRule[], maxTokenBytes = 0): MaskedBody {
    this.#load(rules, maxTokenBytes);
    this.#core.resetCounts();
    this.#begin(contentType);
    const parts: Buffer[] = [];
    for (const chunk of chunks) {
      this.#settle(this.#core.write(this.#put(chunk)));
      parts.push(Buffer.from(this.#output()));
    }
    this.#settle(this.#core.end());
    parts.push(Buffer.from(this.#output()));
    return { bytes: Buffer.concat(parts), counts: rules.map((_, i) => Number(this.#core.countOf(i))) };
  }

  /** What is wrong with a path, or null. */
  checkPath(path: string): string | null {
    return this.#complaint(this.#core.checkPath(this.#put(path)), path);
  }

  /** What is wrong with a custom pattern, or null. */
  checkPattern(pattern: string): string | null {
    return this.#complaint(this.#core.checkPattern(this.#put(pattern)), pattern);
  }

  /** For records of requests: every detector, and members that are secret by their name, in full. */
  recorder(): Recorder {
    const rules = RECORD_RULES;
    const shown = (mask: () => string, otherwise: string): string => {
      try {
        return mask();
      } catch (error) {
        if (error instanceof MaskError) return otherwise;
        throw error;
      }
    };
    return {
      json: (text) => shown(() => this.json(text, rules), '{"unmaskable":true}'),
      text: (text) => shown(() => this.text(text, rules), '(unmaskable)'),
    };
  }

  #begin(contentType: string): void {
    if (!this.#core.begin(this.#put(contentType)))
      throw new MaskError('unsupported_type', `a body of type ${contentType} cannot be masked under these rules`);
  }

  #load(rules: readonly MaskRule[], maxTokenBytes = 0): void {
    if (rules === this.#loaded && maxTokenBytes === 0) return;
    this.#loaded = undefined;
    if (!this.#core.loadPlan(this.#put(encodePlan(rules, maxTokenBytes)))) throw new MaskError('invalid_plan', 'the rules are no plan');
    if (maxTokenBytes === 0) this.#loaded = rules;
  }

  #settle(status: number): void {
    if (status === 0) return;
    const code = STATUSES[status];
    if (code === undefined || code === 'ok') throw new Error(`the masking core answered ${status}`);
    this.#core.reason(status);
    throw new MaskError(code, this.#output().toString());
  }

  #complaint(at: number, text: string): string | null {
    if (at < 0) return null;
    const character = [...Buffer.from(text).subarray(0, at).toString()].length + 1;
    return `${this.#output().toString()} (at character ${character})`;
  }

  /** The core's memory, which moves when it grows. */
  #bytes(): Buffer {
    if (this.#memory.buffer !== this.#core.memory.buffer) this.#memory = Buffer.from(this.#core.memory.buffer);
    return this.#memory;
  }

  #put(input: string | Uint8Array): number {
    if (++this.#calls % CALLS_TO_COLLECT === 0) this.#core.collect();
    const length = typeof input === 'string' ? Buffer.byteLength(input) : input.length;
    const at = this.#core.inputFor(length);
    if (typeof input === 'string') this.#bytes().write(input, at);
    else this.#bytes().set(input, at);
    return length;
  }

  /** A view that the next call overwrites. */
  #output(): Buffer {
    const at = this.#core.outputAt();
    return this.#bytes().subarray(at, at + this.#core.outputLength());
  }
}
