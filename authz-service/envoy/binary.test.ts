import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { findEnvoy } from './binary.ts';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'sluice-'));
});
afterEach(() => rmSync(dir, { recursive: true }));

/** A program that says that it is this version. */
function envoy(path: string, version: string): string {
  const file = join(dir, path);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, `#!/bin/sh\necho "envoy  version: 0123abcd/${version}/Clean/RELEASE/BoringSSL"\n`);
  chmodSync(file, 0o755);
  return file;
}

const find = (env: Record<string, string>, configured?: string) =>
  findEnvoy({ configured, env: { PATH: join(dir, 'path'), ...env }, cache: join(dir, 'cache') });

test('the configured one, then ENVOY_BIN, then PATH, then the newest that was fetched', () => {
  const fetched = [envoy('cache/tools/envoy/1.40.0/envoy', '1.40.0'), envoy('cache/tools/envoy/1.41.0/envoy', '1.41.0')];
  expect(find({})).toEqual({ ok: true, bin: fetched[1], version: '1.41.0' });
  const onPath = envoy('path/envoy', '1.40.2');
  expect(find({})).toMatchObject({ bin: onPath });
  const named = envoy('named', '1.42.0');
  expect(find({ ENVOY_BIN: named })).toMatchObject({ bin: named });
  expect(find({ ENVOY_BIN: named }, fetched[0])).toMatchObject({ bin: fetched[0] });
});

test('one on PATH that is too old is passed over; one that was named is refused', () => {
  const old = envoy('path/envoy', '1.39.9');
  expect(find({})).toEqual({ ok: false, problem: `${old} is Envoy 1.39.9; it must be 1.40 or later` });
  const fetched = envoy('cache/tools/envoy/1.40.0/envoy', '1.40.0');
  expect(find({})).toMatchObject({ bin: fetched });
  expect(find({ ENVOY_BIN: old })).toMatchObject({ ok: false });
});

test('what cannot be run, is no Envoy, or is not there, is said', () => {
  expect(find({})).toMatchObject({ ok: false, problem: expect.stringContaining('npm run setup') });
  expect(find({ ENVOY_BIN: join(dir, 'nowhere') })).toMatchObject({ ok: false, problem: expect.stringContaining('cannot be run: ENOENT') });
  expect(find({ ENVOY_BIN: '/bin/true' })).toMatchObject({ ok: false, problem: expect.stringContaining('no Envoy') });
});
