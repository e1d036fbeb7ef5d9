import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'vitest';
import { localFiles } from './local_files.ts';
import { BEHAVIOURS } from './object_store.behaviour.ts';

describe('local files', () => {
  it.each(BEHAVIOURS)('$what', async ({ show }) => {
    const directory = mkdtempSync(join(tmpdir(), 'sluice-objects-'));
    try {
      await show(localFiles(directory));
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  });
});
