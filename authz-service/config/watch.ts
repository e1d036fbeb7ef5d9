/** sluice.yaml, read again when it changes. */
import { statSync } from 'node:fs';
import { isDeepStrictEqual } from 'node:util';
import { type Config, type ConfigError, type LoadOptions, loadConfig } from './config.ts';

export interface ConfigWatch {
  /**
   * A good file that says something else.
   * @param config what is in force from now on: the new file's targets, all else as it was
   * @param restart the keys that differ too, and wait for a restart
   */
  changed(config: Config, restart: readonly string[]): void;
  /** A file that is wrong: what was in force stays so. */
  refused(errors: readonly ConfigError[]): void;
}

const LOOK_EVERY_MS = 1_000;

/** Looks once a second, by the file's state, which works for renames, symbolic links (Kubernetes) and network file systems alike. */
export function watchConfig(
  first: Config,
  { changed, refused }: ConfigWatch,
  options: LoadOptions = {},
  everyMs = LOOK_EVERY_MS,
): { close(): void } {
  let inForce = first;
  let latest = first;
  // Not the file's state as it is now: it may have changed since it was read.
  let seen = '';
  const look = (): void => {
    const state = stateOf(first.file);
    if (state === seen) return;
    seen = state;
    const loaded = loadConfig(first.file, options);
    if (!loaded.ok) {
      refused(loaded.errors);
      return;
    }
    const different = differences(latest, loaded.config);
    latest = loaded.config;
    if (different.length === 0) return;
    inForce = { ...inForce, targets: onKnownListeners(loaded.config, inForce) };
    changed(
      inForce,
      differences(inForce, loaded.config).map((key) => key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)),
    );
  };
  const timer = setInterval(look, everyMs).unref();
  return { close: () => clearInterval(timer) };
}

/** Differs when the file is another one, or was written to. */
function stateOf(file: string): string {
  const state = statSync(file, { bigint: true, throwIfNoEntry: false });
  return state ? `${state.dev} ${state.ino} ${state.mtimeNs} ${state.size}` : 'gone';
}

const differences = (before: Config, after: Config): (keyof Config)[] =>
  (Object.keys(after) as (keyof Config)[]).filter((key) => !isDeepStrictEqual(before[key], after[key]));

/** A target of a new listener waits for it, as the listener waits for the restart; so does a database that gets its first tunnel through one. */
const onKnownListeners = ({ targets }: Config, { listeners }: Config): Config['targets'] =>
  targets.filter((target) =>
    (target.protocol === 'http' ? [target.listener] : [target.listener, target.tunnel]).every(
      (way) => way === undefined || listeners.some(({ name }) => name === way),
    ),
  );
