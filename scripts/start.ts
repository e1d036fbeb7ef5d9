/** `npm start`: the demo, or with `--config FILE` the user's own gateway. */
import { join } from 'node:path';
import { root } from './stages.ts';

const own = process.argv.slice(2).some((argument) => argument === '--config' || argument.startsWith('--config='));
if (own) process.argv.splice(2, 0, 'up');
await import(join(root, own ? 'authz-service/cli/main.ts' : 'demo/main.ts'));
