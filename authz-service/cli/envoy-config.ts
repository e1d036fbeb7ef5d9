/** `sluice envoy-config`: the Envoy configuration that the operator deploys, printed, or written to a directory. */
import { formatConfigError, type LoadOptions, loadConfig } from '../config/config.ts';
import { envoyFiles, generateEnvoy } from '../envoy/generate.ts';
import { writeEnvoy } from '../envoy/write.ts';

export interface EnvoyConfigOptions extends LoadOptions {
  /** Path of sluice.yaml. */
  readonly file: string;
  /** Only this one of the files, as `lds.yaml`. */
  readonly only?: string;
  /** Writes the files there in place of printing them. Envoy reads a changed one without a restart. */
  readonly out?: string;
  readonly say?: (text: string) => void;
  readonly complain?: (line: string) => void;
}

/** @returns the exit code */
export function envoyConfig({
  file,
  only,
  out,
  say = (text) => process.stdout.write(text),
  complain = (line) => void process.stderr.write(`${line}\n`),
  ...options
}: EnvoyConfigOptions): number {
  const loaded = loadConfig(file, options);
  if (!loaded.ok) {
    for (const error of loaded.errors) complain(formatConfigError(error));
    return 1;
  }
  const files = envoyFiles(generateEnvoy(loaded.config));
  if (only !== undefined && !files.has(only)) {
    complain(`there is no ${only}; there are ${[...files.keys()].join(', ')}`);
    return 1;
  }
  const chosen = new Map([...files].filter(([name]) => only === undefined || name === only));
  if (out !== undefined) {
    const written = writeEnvoy(out, chosen);
    say(written.length === 0 ? `${out}: nothing has changed\n` : `${out}: ${written.join(', ')} written\n`);
  } else if (only !== undefined) say(chosen.get(only) ?? '');
  else for (const [name, text] of chosen) say(`# ${name}\n---\n${text}`);
  return 0;
}
