/** A decision worker that stands still for a minute, as one does that is not given the processor, the first `times` times that one starts with `dir`. */
import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { workerData } from 'node:worker_threads';

const { dir, times } = workerData.data as { readonly dir: string; readonly times: number };
const before = readdirSync(dir).length;
writeFileSync(join(dir, String(before)), '');
if (before < times) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 60_000);
await import('./worker.ts');
