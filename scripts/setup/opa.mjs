/** OPA, which compiles and tests the policy: the one of this machine, else the official binary, else built by Go. */
import { homedir } from 'node:os';
import { join } from 'node:path';
import { firstOf, keep, present } from './binary.mjs';
import { download, fetchText } from './download.mjs';
import { cache, platform } from './paths.mjs';
import { run } from './run.mjs';

const VERSION = '1.22.2';
const BINARIES = {
  'linux-x64': 'opa_linux_amd64_static',
  'linux-arm64': 'opa_linux_arm64_static',
  'darwin-x64': 'opa_darwin_amd64',
  'darwin-arm64': 'opa_darwin_arm64_static',
};
const RELEASE = `https://github.com/open-policy-agent/opa/releases/download/v${VERSION}`;
const MODULE = `github.com/open-policy-agent/opa@v${VERSION}`;

const remedies = [
  `install OPA ${VERSION} (https://www.openpolicyagent.org/docs#1-download-opa) and put it on PATH, or name it: OPA_BIN=/path/to/opa`,
  'install Go, and set-up builds OPA',
  'behind a proxy, set HTTPS_PROXY; behind a module mirror, set GOPROXY',
];

export async function opa(progress) {
  const program = { name: 'opa', version: VERSION, variable: 'OPA_BIN', versionArguments: ['version'], elsewhere: await goBins() };
  const found = await present(program, progress.note);
  if (found !== undefined) return { already: found };
  const binary = BINARIES[platform];
  const ways = [
    ...(binary ? [{ title: 'from its release on GitHub', fetch: (scratch) => byRelease(program, binary, scratch, progress) }] : []),
    { title: 'built by Go', fetch: (scratch) => byGo(program, scratch, progress) },
  ];
  return firstOf(program, ways, remedies, progress);
}

/** Where `go install` puts programs; often not on PATH. */
async function goBins() {
  const { code, output } = await run('go', ['env', 'GOBIN', 'GOPATH'], { timeoutMs: 10_000 });
  const [bin = '', path = ''] = code === 0 ? output.split('\n') : [];
  return [bin, ...(path === '' ? [] : [join(path, 'bin')]), join(homedir(), 'go', 'bin')].filter(Boolean);
}

async function byRelease(program, binary, scratch, { say }) {
  const [sha256] = /^[0-9a-f]{64}\b/.exec(await fetchText(`${RELEASE}/${binary}.sha256`)) ?? [];
  if (sha256 === undefined) throw new Error(`${binary}.sha256 holds no hash`);
  const file = join(scratch, 'opa');
  await download(`${RELEASE}/${binary}`, { file, sha256, say });
  await keep(program, file, sha256);
}

/** Go verifies every module against its checksum database. */
async function byGo(program, scratch, { say, note }) {
  const version = await run('go', ['version'], { timeoutMs: 10_000 });
  if (version.code !== 0) throw new Error('there is no Go');
  note('building it takes a few minutes, once');
  const { code, last } = await run('go', ['install', MODULE], {
    cwd: cache,
    env: { GOBIN: scratch, GOFLAGS: '', GOWORK: 'off' },
    onLine: say,
  });
  if (code !== 0) throw new Error(last);
  await keep(program, join(scratch, 'opa'));
}
