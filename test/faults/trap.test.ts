import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import asc from 'assemblyscript/asc';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Sluice } from '../e2e/sluice.fixture.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** The real filter, with one callback that traps when a response says so. */
async function compileTrap(file: string): Promise<void> {
  const real = new WebAssembly.Module(readFileSync(join(ROOT, 'build/sluice-http.wasm')));
  const { exports } = WebAssembly.Module as unknown as { exports(module: WebAssembly.Module): { kind: string; name: string }[] };
  const names = exports(real)
    .filter(({ kind, name }) => kind === 'function' && name !== 'proxy_on_response_body' && !name.startsWith('__') && !name.startsWith('_'))
    .map(({ name }) => name);
  const entry = join('build', `.trap.${process.pid}.ts`);
  const source = `export { ${names.join(', ')} } from '../wasm-filters/filters/http';
import { proxy_on_response_body as real } from '../wasm-filters/filters/http';
@external("env", "proxy_get_buffer_bytes") declare function bytes(type: u32, start: u32, length: u32, data: usize, size: usize): u32;
const out = memory.data(8);
export function proxy_on_response_body(context: u32, size: u32, end: u32): u32 {
  if (size > 0 && bytes(1, 0, size, out, out + 4) == 0) {
    if (String.UTF8.decodeUnsafe(load<u32>(out), load<u32>(out + 4)).includes('"trap"')) unreachable();
  }
  return real(context, size, end);
}
`;
  writeFileSync(join(ROOT, entry), source);
  const { error, stderr } = await asc.main([
    entry,
    '--outFile',
    file,
    '--baseDir',
    ROOT,
    '-O3',
    '--noAssert',
    '--runtime',
    'incremental',
    '--enable',
    'simd',
    '--use',
    'abort=',
  ]);
  rmSync(join(ROOT, entry));
  if (error) throw new Error(`${error.message}\n${stderr}`);
}

let sluice: Sluice;
/** Ends the response to /tickets/stream. */
let endStream = (): void => {};

beforeAll(async () => {
  const file = join('build', `.trap.${process.pid}.wasm`);
  await compileTrap(file);
  sluice = await Sluice.start(
    (document) => {
      document.envoy.wasm = join(ROOT, file);
    },
    (request, response) => {
      if (request.url === '/tickets/trap') {
        response.setHeader('content-type', 'application/json').end('{"trap":1,"ssn":"536-22-8134"}');
        return true;
      }
      if (request.url === '/tickets/stream') {
        response.setHeader('content-type', 'application/json');
        response.write('[{"ssn":"536-22-8134"},{"n":1},');
        endStream = () => void response.end('{"ssn":"536-22-8134"}]');
        return true;
      }
      return false;
    },
  );
});
afterAll(async () => {
  await sluice?.close();
  rmSync(join(ROOT, 'build', `.trap.${process.pid}.wasm`), { force: true });
});

test('a trap ends the streams of its worker, lets nothing through, and new work is served at once', async () => {
  const token = await sluice.token();
  expect((await sluice.ask('/tickets', { token })).status).toBe(200);
  const begun = Promise.withResolvers<void>();
  const beside = sluice.ask('/tickets/stream', { token, onData: () => begun.resolve() }).catch(() => undefined);
  await begun.promise;
  const trapped = await sluice.ask('/tickets/trap', { token }).catch(() => undefined);
  expect(trapped?.text ?? '').not.toContain('536-22-8134');
  expect(trapped === undefined || trapped.cut || trapped.status >= 500).toBe(true);
  const since = performance.now();
  const next = await sluice.ask('/tickets', { token });
  expect(next.status).toBe(200);
  expect(performance.now() - since).toBeLessThan(10_000);
  endStream();
  const other = await beside;
  expect(other?.text ?? '').not.toContain('536-22-8134');
  expect(other === undefined || other.cut).toBe(true);
  const alive = sluice.envoy;
  expect(() => process.kill(alive.pid, 0)).not.toThrow();
});
