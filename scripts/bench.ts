/** `npm run -s bench -- NAME [--json]`: runs test/bench/NAME.ts. Standard output carries what the bench prints and nothing else. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { root } from './stages.ts';

const BENCHES: Readonly<Record<string, string>> = {
  decisions: 'CPU time of a check, over a bare gRPC server that answers with a constant',
  'mask-http': 'throughput of a masked response through Envoy, over the same Envoy without the filter',
  holds: '5,000 requests held at once',
  'mask-core': 'the masking core alone',
  'pg-rows': 'throughput of masked rows of PostgreSQL through Envoy, over the same Envoy with tcp_proxy alone',
  tap: 'durable events a second, over this disk alone',
  tessera: "durable entries a second, over those of tessera's POSIX driver (needs Go)",
  prune: 'how long the first sweep that prunes 100,000 events keeps the event loop',
  verify: 'a log of a million events verified, over reading and hashing its files once',
  'pg-statements': 'pgbench through the gateway, over the same Envoy with tcp_proxy alone',
};

const [name, ...args] = process.argv.slice(2);
if (name === undefined || !Object.hasOwn(BENCHES, name)) {
  const list = Object.entries(BENCHES).map(([bench, measures]) => `  ${bench.padEnd(15)}${measures}\n`);
  process.stderr.write(
    `${name === undefined ? 'Which bench?' : `There is no bench '${name}'.`}\n${list.join('')}npm run -s bench -- NAME --json\n`,
  );
  process.exit(2);
}
/** As `./sluice` starts the service: most benches have its parts in their own process. */
const FLAGS = ['--max-semi-space-size=64'];
const { status } = spawnSync(process.execPath, [...FLAGS, join(root, 'test', 'bench', `${name}.ts`), ...args], {
  cwd: root,
  stdio: 'inherit',
});
process.exit(status ?? 1);
