/** One instance of a compiled policy: bytes of input → bytes of the result set. Runs in the decision workers. OPA's ABI: https://www.openpolicyagent.org/docs/wasm */
import { BUILTINS, LARGEST_ARGUMENTS } from './builtins.ts';

const PAGE = 65_536;
const FIRST_PAGES = 8;
/** 256 MiB: a policy that wants more fails, it does not take the machine with it. */
const MOST_PAGES = 4096;

interface Exports {
  readonly opa_wasm_abi_version: WebAssembly.Global;
  readonly opa_wasm_abi_minor_version: WebAssembly.Global;
  builtins(): number;
  opa_malloc(size: number): number;
  opa_heap_ptr_get(): number;
  opa_json_parse(text: number, length: number): number;
  opa_json_dump(value: number): number;
  opa_eval(reserved: 0, entrypoint: number, data: number, input: number, inputLength: number, heap: number, format: 0): number;
}

export interface PolicyInstance {
  /** The result set as UTF-8 JSON: a view of the policy's memory, valid until the next call. Throws what the policy throws; then the instance is spent. */
  evaluate(input: Uint8Array): Uint8Array;
  memoryBytes(): number;
  /** Built-in functions that the policy calls and nobody brings: it would fail where it calls them. */
  readonly missing: readonly string[];
}

/** @throws when the module is not one of OPA's, or its data does not fit */
export function instantiate(module: WebAssembly.Module, data: unknown): PolicyInstance {
  const memory = new WebAssembly.Memory({ initial: FIRST_PAGES, maximum: MOST_PAGES });
  /** By number, as the module calls them. */
  const names: string[] = [];

  const textAt = (start: number): Uint8Array => {
    const view = new Uint8Array(memory.buffer);
    return view.subarray(start, view.indexOf(0, start));
  };
  const parsed = (text: Uint8Array): unknown => JSON.parse(Buffer.from(text.buffer, text.byteOffset, text.length).toString('utf8'));
  const load = (value: unknown): number => {
    const text = Buffer.from(JSON.stringify(value));
    const address = exports.opa_malloc(text.length);
    new Uint8Array(memory.buffer).set(text, address);
    const loaded = exports.opa_json_parse(address, text.length);
    if (loaded === 0) throw new Error('a value could not be handed to the policy');
    return loaded;
  };
  const call = (id: number, _context: number, ...values: number[]): number => {
    const name = names[id] ?? '';
    const builtin = BUILTINS.get(name) as ((...args: unknown[]) => unknown) | undefined;
    if (!builtin) throw new Error(`there is no built-in function ${name}`);
    let size = 0;
    const texts = values.map((value) => {
      const text = textAt(exports.opa_json_dump(value));
      size += text.length;
      if (size > LARGEST_ARGUMENTS) throw new Error(`${name}: the arguments exceed ${LARGEST_ARGUMENTS} bytes`);
      return parsed(text);
    });
    const result = builtin(...texts);
    // 0 is undefined.
    return result === undefined ? 0 : load(result);
  };
  const abort = (message: number): void => {
    throw new Error(Buffer.from(textAt(message)).toString('utf8'));
  };

  const env = {
    memory,
    opa_abort: abort,
    opa_println: () => {},
    opa_builtin0: call,
    opa_builtin1: call,
    opa_builtin2: call,
    opa_builtin3: call,
    opa_builtin4: call,
  };
  const exports = new WebAssembly.Instance(module, { env }).exports as unknown as Exports;
  if (exports.opa_wasm_abi_version?.value !== 1 || Number(exports.opa_wasm_abi_minor_version?.value) < 2)
    throw new Error("it is no module of OPA's ABI 1.2");
  for (const [name, id] of Object.entries(parsed(textAt(exports.opa_json_dump(exports.builtins()))) as Record<string, number>))
    names[id] = name;
  const dataAddress = load(data);
  // The input goes behind the data, and every evaluation begins again from there.
  const input = exports.opa_heap_ptr_get();

  return {
    missing: names.filter((name) => !BUILTINS.has(name)),
    memoryBytes: () => memory.buffer.byteLength,
    evaluate(bytes) {
      const short = input + bytes.length + PAGE - memory.buffer.byteLength;
      if (short > 0) memory.grow(Math.ceil(short / PAGE));
      new Uint8Array(memory.buffer).set(bytes, input);
      return textAt(exports.opa_eval(0, 0, dataAddress, input, bytes.length, input + bytes.length, 0));
    },
  };
}

export const thrownReason = (thrown: unknown): string => (thrown instanceof Error ? thrown.message : String(thrown));
