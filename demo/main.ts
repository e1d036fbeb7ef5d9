/** What `npm start` runs: a demo issuer, two demo targets, the service and Envoy. They start together and end together. */
import { randomBytes } from 'node:crypto';
import { copyFileSync, existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Gateway, startGateway, untilStopped } from '../authz-service/cli/up.ts';
import { formatConfigError, loadConfigToStart } from '../authz-service/config/config.ts';
import { type Part, startPart } from './part.ts';
import { tour } from './tour.ts';

const ISSUER_PORT = 9400;
const TARGET_PORT = 9402;
const LEDGER_PORT = 9403;
const here = fileURLToPath(new URL('.', import.meta.url));
const config = join(here, 'sluice.yaml');
const state = join(here, '..', 'data', 'demo');
const logs = join(state, 'logs');

/** Hashed values keep their tokens from one start to the next. */
function provideMaskingKey(): void {
  const file = join(state, 'masking.key');
  if (!existsSync(file)) writeFileSync(file, `${randomBytes(32).toString('base64url')}\n`, { mode: 0o600 });
}

/** The gateway's, as ledger.sql gives it: no agent has it. It is for invented data on loopback, so it is no secret here. */
const provideLedgerPassword = (): void => writeFileSync(join(state, 'ledger.password'), 'gateway-of-the-demo\n', { mode: 0o600 });

/** Everything that would keep a part from starting, found before any starts. */
async function obstacles(): Promise<string[]> {
  const own = await Promise.all(
    (
      [
        ['issuer', ISSUER_PORT],
        ['target', TARGET_PORT],
        ['ledger', LEDGER_PORT],
      ] as const
    ).map(async ([part, port]) => ((await free(port)) ? [] : [`127.0.0.1:${port} is in use: the demo's ${part} needs it`])),
  );
  const loaded = await loadConfigToStart(config, 'gateway');
  return [...own.flat(), ...(loaded.ok ? [] : loaded.errors.map(formatConfigError))];
}

const free = (port: number): Promise<boolean> =>
  new Promise((settle) => {
    const server = createServer().once('error', () => settle(false));
    server.listen({ port, host: '127.0.0.1', exclusive: true }, () => server.close(() => settle(true)));
  });

async function main(): Promise<number> {
  mkdirSync(logs, { recursive: true, mode: 0o700 });
  provideMaskingKey();
  provideLedgerPassword();
  const found = await obstacles();
  if (found.length > 0) {
    process.stderr.write(
      `The demo cannot start:\n${found.map((line) => `  - ${line}\n`).join('')}Is it running already, in another terminal?\n`,
    );
    return 1;
  }
  const parts: Part[] = [];
  let gateway: Gateway | undefined;
  const close = async (): Promise<void> => {
    await gateway?.close();
    await Promise.all(parts.map((part) => part.stop()));
  };
  process.stderr.write('Start\n');
  try {
    // Each start serves the data as it was: a tour that deletes a customer can be taken again.
    const data = join(state, 'data.json');
    copyFileSync(join(here, 'data.json'), data);
    parts.push(
      await startPart("The demo's issuer", new URL('issuer.ts', import.meta.url), [String(ISSUER_PORT)], {
        port: ISSUER_PORT,
        log: join(logs, 'issuer.log'),
      }),
      await startPart("The demo's target", new URL('target.ts', import.meta.url), [String(TARGET_PORT), data], {
        port: TARGET_PORT,
        log: join(logs, 'target.log'),
      }),
      await startPart("The demo's ledger", new URL('ledger.ts', import.meta.url), [String(LEDGER_PORT)], {
        port: LEDGER_PORT,
        log: join(logs, 'ledger.log'),
        announces: true,
      }),
    );
    process.stderr.write(
      `  ✓ Issuer: oidc-provider, http://127.0.0.1:${ISSUER_PORT}\n  ✓ Targets: json-server, http://127.0.0.1:${TARGET_PORT}; PostgreSQL, 127.0.0.1:${LEDGER_PORT}\n`,
    );
    gateway = await startGateway(config);
    process.stderr.write(
      `  ✓ Service, with its policy and its record in ${state}\n  ✓ Envoy: http://127.0.0.1:8080, and for PostgreSQL 127.0.0.1:5433\n`,
    );
  } catch (error) {
    await close();
    throw error;
  }
  process.stdout.write(tour);
  return await untilStopped(Promise.race([gateway.failed, ...parts.map(({ ended }) => ended)]), close);
}

try {
  process.exit(await main());
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : error}\n`);
  process.exit(1);
}
