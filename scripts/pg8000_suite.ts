/**
 * `npm run -s test:pg8000 -- [--json] [--log FILE]`: the own tests of pg8000, a driver for Python that speaks the protocol itself, as `driver_suite.ts` says.
 * Needs Python 3 with pg8000 and pytest; takes some minutes. Its tests of ways to log in are left out (they want a server that offers them all), and so are
 * benchmarks, and examples of its README, which are one test.
 */
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { compareWays, keepSaid, type Outcome, type Outcomes, suiteFolder, type Way } from './driver_suite.ts';
import { root } from './stages.ts';

const VERSION = '1.31.2';
const venv = join(process.env.SLUICE_CACHE || join(root, '.cache'), 'interop', 'venv', 'bin', 'python');
const python = existsSync(venv) ? venv : 'python3';
const plugin = join(root, 'test/interop/postgres/pg8000');

try {
  execFileSync(
    python,
    ['-c', `import pytest, pytest_mock, pytz; from importlib.metadata import version; assert version("pg8000") == "${VERSION}"`],
    {
      stdio: 'ignore',
    },
  );
} catch {
  const packages = `pg8000==${VERSION} pytest==8.4.2 pytest-mock==3.15.1 pytz==2025.2`;
  process.stderr.write(
    `Needs pg8000 ${VERSION} and pytest: python3 -m venv .cache/interop/venv && .cache/interop/venv/bin/python -m pip install ${packages}\n`,
  );
  process.exit(2);
}
const folder = suiteFolder('pg8000-suite');
execFileSync(python, ['-m', 'pip', 'download', '-q', '--no-deps', '--no-binary', 'pg8000', '-d', folder, `pg8000==${VERSION}`], {
  stdio: 'inherit',
});
execFileSync('tar', ['xzf', `pg8000-${VERSION}.tar.gz`, '--strip-components=1'], { cwd: folder });

await compareWays({
  name: 'pg8000',
  driver: `pg8000==${VERSION}`,
  // The tests name no database: it is called as the user is.
  database: 'postgres',
  role: { user: 'postgres', password: 'superuser-of-the-demo' },
  agent: 'postgres',
  prepare: async (server) => {
    await server.query(
      `DROP SCHEMA public CASCADE; CREATE SCHEMA public; GRANT ALL ON SCHEMA public TO PUBLIC; CREATE EXTENSION IF NOT EXISTS hstore`,
    );
  },
  run: outcomes,
});

async function outcomes({ port, password }: Way): Promise<Outcomes> {
  const told = join(folder, `outcomes-${port}`);
  const leftOut = ['auth/*', 'benchmarks*', 'readme*'].map((name) => `--ignore-glob=*${name}`);
  const child = spawn(python, ['-m', 'pytest', '-p', 'outcomes', '-p', 'no:cacheprovider', '-q', '--tb=short', ...leftOut, 'test'], {
    cwd: folder,
    env: {
      ...process.env,
      // The package that is installed, not its sources.
      ...{ PYTHONPATH: plugin, PYTHONSAFEPATH: '1', OUTCOMES: told },
      ...{ PGHOST: '127.0.0.1', PGPORT: String(port), PGPASSWORD: password },
    },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  for await (const line of createInterface({ input: child.stdout })) keepSaid(`${line}\n`);
  const lines = existsSync(told) ? readFileSync(told, 'utf8').trimEnd().split('\n') : [];
  return new Map(lines.map((line) => JSON.parse(line) as { test: string; outcome: Outcome }).map(({ test, outcome }) => [test, outcome]));
}
