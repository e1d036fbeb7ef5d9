/** `npm start`: the demo; with arguments, as `--config FILE`, the user's own gateway: `sluice up` understands them or refuses them. */
import { join } from 'node:path';
import { root } from './stages.ts';

const own = process.argv.length > 2;
if (own) process.argv.splice(2, 0, 'up');
await import(join(root, own ? 'authz-service/cli/main.ts' : 'demo/main.ts'));
