import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

// unit: pure code beside what it tests. wasm: compiled filters in the host emulator.
// e2e and faults: a real Envoy, real servers, one file at a time (they share the machine's two cores).
// Tests that wait for real processes may meet a slow moment of a shared machine: where nobody watches they are tried a second time, and the output says so.
// Never those of `wasm`: a generated case that fails once has found something.
const retry = process.env.CI ? 1 : 0;

// Of the processes that tests start: most of the time that a start takes is for what is compiled each time anew.
process.env.NODE_COMPILE_CACHE ??= fileURLToPath(new URL('node_modules/.cache/compiled', import.meta.url));

export default defineConfig({
  test: {
    // By default Vitest leaves one processor to itself, of two, and it has little to do.
    maxWorkers: availableParallelism(),
    projects: [
      {
        test: {
          name: 'unit',
          include: ['authz-service/**/*.test.ts', 'scripts/**/*.test.ts'],
          testTimeout: 20_000,
          hookTimeout: 20_000,
          // What is waited for takes as long as the machine's other work lets it; one second is none under load.
          expect: { poll: { timeout: 15_000 } },
          retry,
        },
      },
      { test: { name: 'wasm', include: ['test/{wasm,fuzz}/**/*.test.ts'], testTimeout: 120_000, isolate: false } },
      {
        test: {
          name: 'e2e',
          include: ['test/{e2e,faults}/**/*.test.ts'],
          testTimeout: 120_000,
          hookTimeout: 120_000,
          fileParallelism: false,
          maxConcurrency: 2,
          retry,
        },
      },
    ],
  },
});
