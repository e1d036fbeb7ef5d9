/** The `sluice` command. */
import { run } from './run.ts';

// A reader that has enough (`| head`) is no error.
process.stdout.on('error', ({ code }: NodeJS.ErrnoException) => process.exit(code === 'EPIPE' ? 0 : 1));
process.exitCode = await run(process.argv.slice(2));
// What is left open, as a kept connection, must not keep the terminal.
process.stdout.write('', () => process.exit());
