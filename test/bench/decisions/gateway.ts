/** `gateway.ts CONFIG`: the whole service, as `sluice serve` starts it. */
import { formatConfigError, loadConfig } from '../../../authz-service/config/config.ts';
import { startService } from '../../../authz-service/main.ts';
import { serve } from './child.ts';

const loaded = loadConfig(process.argv[2] ?? '');
if (!loaded.ok) throw new Error(loaded.errors.map(formatConfigError).join('\n'));
await startService(loaded.config);
serve();
