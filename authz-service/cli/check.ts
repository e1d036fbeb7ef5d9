/** `sluice check`: is everything right before it is started or deployed? Configuration, policy, and what Envoy itself says of what is generated for it. */
import { existsSync } from 'node:fs';
import { type Config, formatConfigError, type LoadOptions, loadConfig, loadConfigToStart } from '../config/config.ts';
import { findEnvoy } from '../envoy/binary.ts';
import { generateEnvoy, placesOf } from '../envoy/generate.ts';
import { validateEnvoy } from '../envoy/validate.ts';
import { loadMask } from '../mask/mask.ts';

export interface CheckOptions extends LoadOptions {
  /** Path of sluice.yaml. */
  readonly file: string;
  /** Also asks that the ports to listen on are free, as before a start. */
  readonly ports?: boolean;
  /** What is wrong with the policy, a line each; empty when nothing is. */
  readonly checkPolicy?: (config: Config) => Promise<readonly string[]>;
  /** Says a line to the operator. */
  readonly say?: (line: string) => void;
}

/** One thing looked at: its name, and what is wrong with it. */
interface Finding {
  readonly what: string;
  readonly problems: readonly string[];
}

/** @returns the exit code: 0 when everything is right, 1 otherwise */
export async function check({
  file,
  ports = false,
  checkPolicy = async () => [],
  say = (line) => void process.stdout.write(`${line}\n`),
  ...options
}: CheckOptions): Promise<number> {
  const loading = { ...(await patternChecker()), ...options };
  const loaded = ports ? await loadConfigToStart(file, 'gateway', loading) : loadConfig(file, loading);
  if (!loaded.ok) return report([{ what: 'configuration', problems: loaded.errors.map(formatConfigError) }], say);
  const [policy, envoy] = await Promise.all([checkPolicy(loaded.config), checkEnvoy(loaded.config)]);
  return report(
    [
      { what: `configuration ${file}`, problems: [] },
      { what: `policy ${loaded.config.policy.path}`, problems: policy },
      { what: 'Envoy configuration', problems: envoy },
    ],
    say,
  );
}

/** Patterns are compiled as the filter compiles them. Without the built module there is no filter either, and `checkEnvoy` says that. */
async function patternChecker(): Promise<Pick<LoadOptions, 'checkPattern'>> {
  try {
    const mask = await loadMask();
    return { checkPattern: (pattern) => mask.checkPattern(pattern) };
  } catch {
    return {};
  }
}

function report(findings: readonly Finding[], say: (line: string) => void): number {
  for (const { what, problems } of findings) {
    if (problems.length === 0) say(`ok    ${what}`);
    else say(`WRONG ${what}: ${problems.length} ${problems.length === 1 ? 'problem' : 'problems'}`);
    for (const problem of problems) say(problem.replace(/^/gm, '  '));
  }
  return findings.every(({ problems }) => problems.length === 0) ? 0 : 1;
}

async function checkEnvoy(config: Config): Promise<string[]> {
  const { wasm } = placesOf(config);
  const missing = [wasm.http, ...(config.targets.some(({ protocol }) => protocol === 'postgres') ? [wasm.postgres] : [])].find(
    (file) => !existsSync(file),
  );
  if (missing !== undefined)
    return [`the filter ${missing} does not exist; \`npm run setup\` builds it, \`envoy.wasm_dir\` names another place`];
  const found = findEnvoy({ configured: config.envoy.bin });
  if (!found.ok) return [found.problem];
  const validation = await validateEnvoy(generateEnvoy(config), found.bin);
  return validation.ok ? [] : [`Envoy ${found.version} refuses it:\n${validation.problem}`];
}
