/** Asks a bundle before it is put in force: does it load, and does it answer the decision document? */
import type { Request } from '../decision/request.ts';
import type { Bundle } from './compile.ts';
import { createEngine } from './engine.ts';
import { PolicyBuildError } from './error.ts';
import { instantiate, thrownReason } from './instance.ts';

/** The first evaluation compiles as it goes, and the machine may be busy: this is about hanging, not about speed. */
const PROBE_MS = 2_000;

/** A request of nobody for nothing, of the shape that every request has. */
const PROBE: Request = {
  time: { now: '2000-01-01T00:00:00.000Z', unix: 946_684_800 },
  identity: {
    id: 'probe:probe',
    issuer: 'probe',
    subject: 'probe',
    name: '',
    kind: 'workload',
    client: '',
    tenant: '',
    groups: [],
    roles: [],
    scopes: [],
  },
  run: { id: '', on_behalf_of: '', source: 'none' },
  target: { name: 'probe', protocol: 'http', labels: {} },
  session: { id: 'probe' },
  request: {
    protocol: 'http',
    method: 'GET',
    host: 'probe',
    path: '/',
    segments: [''],
    query: {},
    headers: {},
    content_type: '',
    body: { size: 0, sha256: 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855' },
  },
};

/** @throws {PolicyBuildError} when the bundle would not serve */
export async function probe({ wasm, data, revision }: Bundle): Promise<void> {
  const missing = missingBuiltins(wasm, data);
  if (missing.length > 0)
    throw new PolicyBuildError(
      missing.map(
        (name) =>
          `the built-in function ${name} does not exist in OPA's WASM${name.startsWith('time.now') ? '; the time is in input.time' : ''}`,
      ),
    );
  const engine = await createEngine({ wasm, data, revision, workers: 1, spares: 0, timeoutMs: PROBE_MS });
  try {
    const answer = await engine.evaluate(JSON.stringify(PROBE));
    if (!answer.ok)
      throw new PolicyBuildError([`the policy does not answer the decision document at data.sluice.decision: ${answer.reason}`]);
  } finally {
    await engine.close();
  }
}

function missingBuiltins(wasm: Uint8Array<ArrayBuffer>, data: unknown): readonly string[] {
  try {
    return instantiate(new WebAssembly.Module(wasm), data).missing;
  } catch (thrown) {
    throw new PolicyBuildError([`the module does not load: ${thrownReason(thrown)}`]);
  }
}
