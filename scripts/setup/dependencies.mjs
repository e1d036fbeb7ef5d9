/** The npm packages of package-lock.json, and the Node that comes with them. */
import { chmodSync, existsSync, linkSync, mkdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { cache, node, platform, root } from './paths.mjs';
import { SetupError } from './progress.mjs';
import { run } from './run.mjs';

const npm = process.platform === 'win32' ? 'npm.cmd' : 'npm';
const readJson = (file) => JSON.parse(readFileSync(join(root, file), 'utf8'));

/**
 * Whether node_modules holds what the lock file says, by the integrity hash of every package, as npm noted it when it unpacked
 * them. Optional packages are not asked for: most are for other platforms.
 */
function installed() {
  try {
    const has = readJson('node_modules/.package-lock.json').packages;
    return Object.entries(readJson('package-lock.json').packages).every(
      ([path, { integrity, optional, devOptional }]) =>
        path === '' || optional || devOptional || (has[path]?.integrity === integrity && existsSync(join(root, path))),
    );
  } catch {
    return false;
  }
}

export async function dependencies({ say }) {
  if (installed()) return { already: 'as in package-lock.json' };
  const { code, output } = await run(npm, ['ci', '--include=dev', '--no-audit', '--no-fund'], { cwd: root, onLine: say });
  const [, added] = /added (\d+) packages?/.exec(output) ?? [];
  if (code === 0 && installed()) return `${added ?? 'all'} packages`;
  throw new SetupError('npm could not install the dependencies', {
    tried: [
      `npm ci: ${output
        .split('\n')
        .filter((line) => /^npm (?:error|ERR!) \S/.test(line))
        .slice(0, 3)
        .map((line) => line.replace(/^npm (?:error|ERR!) /, ''))
        .join('; ')}`,
    ],
    remedies: ['look at the registry that npm uses: npm config get registry', 'run `npm ci` by hand and read what it says'],
  });
}

const versionOf = async (file) => {
  const { code, output } = await run(file, ['--version'], { timeoutMs: 20_000 });
  return code === 0 ? output.trim().replace(/^v/, '') : undefined;
};

/**
 * The npm package `node` links the platform's binary in an install script, which npm may have been told not to run. Then the
 * binary is linked here.
 */
export async function nodeBinary({ say }) {
  const { version } = readJson('node_modules/node/package.json');
  if ((await versionOf(node)) === version) return { already: version };
  const name = `${process.platform === 'darwin' && process.arch === 'arm64' ? 'node-bin' : 'node'}-${platform}`;
  say(`fetching ${name}`);
  const folder = join(cache, 'tools', 'node', version);
  const fetched = join(folder, 'node_modules', name, 'bin', 'node');
  const tried = [];
  for (const provide of [() => fetchNode(name, version, folder), ownNode(version)]) {
    const problem = await provide();
    if (problem !== undefined) tried.push(problem);
    else {
      place(existsSync(fetched) ? fetched : process.execPath);
      const got = await versionOf(node);
      if (got !== undefined && Number.parseInt(got, 10) >= 24) return got;
      tried.push(`${node} does not run`);
    }
  }
  throw new SetupError(`Node ${version} could not be put into node_modules`, {
    tried,
    remedies: ['run set-up with Node 24 or later: it is used then', `allow install scripts and install again: npm rebuild node`],
  });
}

async function fetchNode(name, version, folder) {
  mkdirSync(folder, { recursive: true });
  const { code, last } = await run(
    npm,
    ['install', '--prefix', folder, '--no-save', '--ignore-scripts', '--no-audit', '--no-fund', `${name}@${version}`],
    { cwd: folder },
  );
  return code === 0 ? undefined : `npm install ${name}@${version}: ${last}`;
}

/** The Node that runs set-up will do when it is no older than what is asked for. */
const ownNode = (version) => async () =>
  Number.parseInt(process.versions.node, 10) >= Number.parseInt(version, 10)
    ? undefined
    : `the Node that runs this is ${process.versions.node}`;

function place(binary) {
  const folder = join(root, 'node_modules', 'node', 'bin');
  const file = join(folder, 'node');
  mkdirSync(folder, { recursive: true });
  rmSync(file, { force: true });
  chmodSync(binary, 0o755);
  try {
    linkSync(binary, file);
  } catch {
    symlinkSync(binary, file); // on another file system
  }
  mkdirSync(join(node, '..'), { recursive: true });
  if (!existsSync(node)) {
    rmSync(node, { force: true });
    symlinkSync('../node/bin/node', node);
  }
}
