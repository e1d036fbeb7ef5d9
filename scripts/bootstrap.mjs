/**
 * `node scripts/bootstrap.mjs TASK …`: sets up on whatever Node there is (20 or later), then runs scripts/TASK.ts with the rest
 * of the arguments on the Node that set-up brought.
 */
import { join } from 'node:path';
import { handOver } from './setup/hand_over.mjs';
import { root } from './setup/paths.mjs';
import { setup } from './setup.mjs';

const [task, ...args] = process.argv.slice(2);
await setup();
await handOver([join(root, 'scripts', `${task}.ts`), ...args]);
