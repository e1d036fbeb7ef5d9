import { describe, expect, test } from 'vitest';
import { loadMask, MaskError } from '../../authz-service/mask/mask.ts';
import { chunked, type Vector, vectors } from './mask.vectors.ts';

const mask = await loadMask();

function run(
  { contentType, input, rules, maxTokenBytes }: Vector,
  size: number,
): { output: string; counts: readonly number[] } | { error: string } {
  try {
    const { bytes, counts } = mask.body(contentType, chunked(input, size), rules, maxTokenBytes);
    return { output: bytes.toString('latin1'), counts };
  } catch (error) {
    if (error instanceof MaskError) return { error: error.code };
    throw error;
  }
}

describe('vectors, in one piece and at every chunk size', () => {
  test.each(vectors().map((vector) => [vector.name, vector] as const))('%s', (_, vector) => {
    const whole = run(vector, Math.max(1, vector.input.length));
    if ('error' in vector.expected) expect(whole).toEqual({ error: vector.expected.error });
    else {
      expect(whole).toMatchObject({ output: vector.expected.output.toString('latin1') });
      if (vector.counts) expect(whole).toMatchObject({ counts: vector.counts });
    }
    for (let size = 1; size < vector.input.length; size++) expect(run(vector, size), `chunks of ${size}`).toEqual(whole);
  });
});
