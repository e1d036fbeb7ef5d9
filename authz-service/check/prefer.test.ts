import { expect, test } from 'vitest';
import { waitPreference } from './prefer.ts';

test.each([
  [[], undefined],
  [['wait=5'], 5000],
  [['respond-async'], 0],
  [['respond-async, wait=10'], 10_000],
  [['return=minimal', 'Wait=2; x=1'], 2000],
  [['wait="7"'], 7000],
  [['wait=1, wait=9'], 1000],
  [['wait=soon'], undefined],
  [['wait=-1'], undefined],
  [['wait=999999999'], 2 ** 31 - 1],
])('%j waits %s ms', (values, ms) => {
  expect(waitPreference(values as string[])).toBe(ms);
});
