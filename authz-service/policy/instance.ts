/** One instance of a compiled policy: bytes of input → bytes of the result set. Runs in the decision workers. */
import { createRequire } from 'node:module';

const PAGE = 65_536;
/** 256 MiB: a policy that wants more fails, it does not take the machine with it. */
const MOST_PAGES = 4096;

/** What is used of the library, whose own types ask for those of the DOM. */
interface Library {
  loadPolicySync(
    module: WebAssembly.Module,
    memory: { initial: number; maximum: number },
  ): {
    readonly mem: WebAssembly.Memory;
    readonly wasmInstance: WebAssembly.Instance;
    readonly dataAddr: number;
    readonly dataHeapPtr: number;
    setData(data: unknown): void;
  };
}

const opa: Library = createRequire(import.meta.url)('@open-policy-agent/opa-wasm');

/** Built-in functions that the library brings (its src/builtins); all others must be in the module. */
const BROUGHT: readonly string[] = ['json.is_valid', 'regex.split', 'sprintf', 'yaml.is_valid', 'yaml.marshal', 'yaml.unmarshal'];

interface Exports {
  builtins(): number;
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

/** The library brings imports and built-in functions. Evaluation is by hand: its own would parse the input and the result on the way. */
export function instantiate(module: WebAssembly.Module, data: unknown): PolicyInstance {
  const policy = opa.loadPolicySync(module, { initial: 8, maximum: MOST_PAGES });
  policy.setData(data);
  const memory = policy.mem;
  const { opa_eval, opa_json_dump, builtins } = policy.wasmInstance.exports as unknown as Exports;
  const input = policy.dataHeapPtr;
  const textAt = (start: number): Uint8Array => {
    const view = new Uint8Array(memory.buffer);
    return view.subarray(start, view.indexOf(0, start));
  };
  const wanted = Object.keys(JSON.parse(Buffer.from(textAt(opa_json_dump(builtins()))).toString('utf8')));
  return {
    missing: wanted.filter((name) => !BROUGHT.includes(name)),
    memoryBytes: () => memory.buffer.byteLength,
    evaluate(bytes) {
      const missing = input + bytes.length + PAGE - memory.buffer.byteLength;
      if (missing > 0) memory.grow(Math.ceil(missing / PAGE));
      new Uint8Array(memory.buffer).set(bytes, input);
      return textAt(opa_eval(0, 0, policy.dataAddr, input, bytes.length, input + bytes.length, 0));
    },
  };
}

/** What opa-wasm throws is a string, an object with a message, or an error of WebAssembly. */
export function thrownReason(thrown: unknown): string {
  if (typeof thrown === 'string') return thrown;
  return thrown instanceof Object && 'message' in thrown ? String(thrown.message) : String(thrown);
}
