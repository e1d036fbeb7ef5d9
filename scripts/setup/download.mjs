/** Files from the network: bounded in time, verified before they are there under their name. */
import { createHash, randomUUID } from 'node:crypto';
import { createReadStream, createWriteStream, mkdirSync, renameSync, rmSync } from 'node:fs';
import { dirname } from 'node:path';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { run } from './run.mjs';

const CONNECT_MS = 10_000;
const SILENCE_MS = 30_000;

/** In `fetch`, a reason is at the end of a chain of causes. */
const reasonOf = (error) => {
  let cause = error;
  while (cause.cause) cause = cause.cause;
  return cause.code === 'ENOTFOUND' || cause.code === 'EAI_AGAIN'
    ? `the host ${cause.hostname} is not known here`
    : cause.message || String(cause);
};

/** Node 20 knows no proxies: where one is set, curl fetches. */
const proxied = () => Boolean(process.env.HTTPS_PROXY || process.env.https_proxy || process.env.ALL_PROXY || process.env.all_proxy);

/** @returns {Promise<string>} the text at `url`. Throws an error whose message is one line. */
export async function fetchText(url) {
  if (proxied()) {
    const { code, output, last } = await run('curl', ['-fsSL', '--connect-timeout', '10', '--max-time', '60', url]);
    if (code !== 0) throw new Error(last);
    return output;
  }
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(CONNECT_MS) });
    if (!response.ok) throw new Error(`HTTP status ${response.status}`);
    return await response.text();
  } catch (error) {
    throw new Error(error.name === 'TimeoutError' ? `no answer within ${CONNECT_MS / 1000} s` : reasonOf(error));
  }
}

/**
 * Fetches `url` into `file`, which appears only when its SHA-256 is `sha256`.
 * @param {string} url
 * @param {{ file: string, sha256: string, say?: (text: string) => void }} options
 */
export async function download(url, { file, sha256, say = () => {} }) {
  mkdirSync(dirname(file), { recursive: true });
  const part = `${file}.${randomUUID()}.part`;
  try {
    await (proxied() ? curlInto(url, part) : fetchInto(url, part, say));
    const got = await sha256Of(part);
    if (got !== sha256) throw new Error(`its SHA-256 is ${got}, not ${sha256}: it was not used`);
    renameSync(part, file);
  } finally {
    rmSync(part, { force: true });
  }
}

async function curlInto(url, file) {
  const { code, last } = await run('curl', [
    '-fsSL',
    '--connect-timeout',
    '10',
    '--speed-limit',
    '1',
    '--speed-time',
    '30',
    '-o',
    file,
    url,
  ]);
  if (code !== 0) throw new Error(last);
}

async function fetchInto(url, file, say) {
  const stop = new AbortController();
  let timer = setTimeout(() => stop.abort(new Error(`no answer within ${CONNECT_MS / 1000} s`)), CONNECT_MS);
  const alive = () => {
    clearTimeout(timer);
    timer = setTimeout(() => stop.abort(new Error(`nothing came for ${SILENCE_MS / 1000} s`)), SILENCE_MS);
  };
  try {
    const response = await fetch(url, { signal: stop.signal });
    if (!response.ok || !response.body) throw new Error(`HTTP status ${response.status}`);
    const total = Number(response.headers.get('content-length')) || 0;
    let received = 0;
    const meter = new Transform({
      transform(chunk, _, next) {
        alive();
        received += chunk.length;
        say(total > 0 ? `${Math.floor((received / total) * 100)} % of ${Math.round(total / 1e6)} MB` : `${Math.round(received / 1e6)} MB`);
        next(null, chunk);
      },
    });
    await pipeline(response.body, meter, createWriteStream(file));
  } catch (error) {
    throw new Error(reasonOf(stop.signal.aborted ? stop.signal.reason : error));
  } finally {
    clearTimeout(timer);
  }
}

/** @returns {Promise<string>} hexadecimal */
export async function sha256Of(file) {
  const hash = createHash('sha256');
  await pipeline(createReadStream(file, { highWaterMark: 1 << 20 }), hash);
  return hash.digest('hex');
}
