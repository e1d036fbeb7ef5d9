export type Fetch = (url: string, init: RequestInit) => Promise<Response>;

const MAX_BYTES = 512 * 1024;

/**
 * A JSON object from an issuer. Redirects are not followed: the configured host is the one that is trusted.
 * @throws {Error} on a status other than 200, a body over 512 KiB or that is no JSON object, and when `timeoutMs` is over, body included.
 */
export async function fetchJson(fetch: Fetch, url: string, timeoutMs: number): Promise<Record<string, unknown>> {
  const response = await fetch(url, { redirect: 'error', signal: AbortSignal.timeout(timeoutMs), headers: { accept: 'application/json' } });
  if (response.status !== 200 || response.body === null) {
    await response.body?.cancel();
    throw new Error(`${url} answered ${response.status}`);
  }
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response.body) {
    size += chunk.byteLength;
    if (size > MAX_BYTES) throw new Error(`${url} answered more than ${MAX_BYTES} bytes`);
    chunks.push(chunk);
  }
  const json: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(chunks)));
  if (typeof json !== 'object' || json === null || Array.isArray(json)) throw new Error(`${url} answered no JSON object`);
  return json as Record<string, unknown>;
}
