/**
 * The built-in functions that OPA's modules leave to whoever runs them, as far as they are brought: those of opa-wasm, with bounds. An
 * exhausted JavaScript heap ends not its thread but the whole process (V8 aborts), so nothing may ask for much of it. For the same
 * reason yaml.* is not brought: its document trees are hundreds of times the size of their text.
 */
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

type Builtin = (...args: never[]) => unknown;

const require = createRequire(import.meta.url);
/** By its path: the package exports its entry point alone. */
const library = require(join(dirname(require.resolve('@open-policy-agent/opa-wasm')), 'builtins/index.js')) as Readonly<
  Record<string, Builtin>
>;

/** Bytes of the arguments of one call, as JSON. */
export const LARGEST_ARGUMENTS = 4 * 1024 * 1024;
const WIDE = /%[^%a-zA-Z]*\d{4}/;

export const BUILTINS: ReadonlyMap<string, Builtin> = new Map<string, Builtin>([
  ['json.is_valid', brought('json.is_valid')],
  ['regex.split', brought('regex.split')],
  [
    'sprintf',
    (format: string, values: unknown[]) => {
      if (WIDE.test(format)) throw new Error('sprintf: a width has at most three digits');
      return (brought('sprintf') as (format: string, values: unknown[]) => string)(format, values);
    },
  ],
]);

function brought(name: string): Builtin {
  const found = library[name];
  if (!found) throw new Error(`opa-wasm no longer brings ${name}`);
  return found;
}
