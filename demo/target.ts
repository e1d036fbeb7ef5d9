/**
 * The demo's target: `json-server` as it is, run by its own command line. This file adds only that it ends with main.ts.
 * Arguments: PORT FILE; the file is what it serves and changes.
 */
import { createRequire } from 'node:module';

const [, , port = '', file = ''] = process.argv;
process.on('SIGINT', () => {});
process.on('disconnect', () => process.exit());
process.argv.splice(2, 2, '--host', '127.0.0.1', '--port', port, file);
createRequire(import.meta.url)('json-server/lib/cli')();
