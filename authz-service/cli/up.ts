/** `sluice serve`: the service. `sluice up`: the service and its Envoy, which live and end together. */
import { setTimeout as sleep } from 'node:timers/promises';
import { type Config, formatConfigError, loadConfigToStart, type Starting } from '../config/config.ts';
import { findEnvoy } from '../envoy/binary.ts';
import { envoyFiles, generateEnvoy, placesOf } from '../envoy/generate.ts';
import { type EnvoyProcess, listenerUrls, startEnvoy } from '../envoy/process.ts';
import { writeEnvoy } from '../envoy/write.ts';
import { type ServiceOptions, startService } from '../main.ts';
import { loadMask } from '../mask/mask.ts';
import { DISK_MS, PartsError } from '../parts.ts';
import { CommandError, complain, say } from './command.ts';

export interface Gateway {
  readonly config: Config;
  /** Resolves when a part has ended by itself: how, for people. Then what is left is to be closed. */
  readonly failed: Promise<string>;
  close(): Promise<void>;
}

/** @throws {CommandError} with everything that is wrong with the configuration, a line each */
async function configuration(file: string, starting: Starting): Promise<Config> {
  const mask = await loadMask();
  const loaded = await loadConfigToStart(file, starting, { checkPattern: (pattern) => mask.checkPattern(pattern) });
  if (loaded.ok) return loaded.config;
  throw new CommandError(['The configuration is wrong:', ...loaded.errors.map((error) => `  ${formatConfigError(error)}`)].join('\n'));
}

/** Starts service and Envoy. @throws {Error} when one does not start; the other is closed again */
export async function startGateway(file: string, { acceptLoss }: Pick<ServiceOptions, 'acceptLoss'> = {}): Promise<Gateway> {
  const config = await configuration(file, 'gateway');
  const found = findEnvoy({ configured: config.envoy.bin });
  if (!found.ok) throw new CommandError(found.problem);
  // Envoy reads its files again when they change.
  const service = await startService(config, {
    acceptLoss,
    onTargets: (now) => void writeEnvoy(placesOf(now).dir, envoyFiles(generateEnvoy(now))),
  });
  let envoy: EnvoyProcess;
  try {
    envoy = await startEnvoy(config, { bin: found.bin, log: (line) => complain(line) });
  } catch (error) {
    await service.close();
    throw error;
  }
  return {
    config,
    failed: envoy.exited,
    // Held requests end first, and Envoy tells their callers; what runs has the drain time; then Envoy ends, whose last events the service still records.
    close: async () => {
      const drained = sleep(config.service.drainMs + DISK_MS, undefined, { ref: false });
      // What does not end in time is told by the service's close.
      await Promise.race([Promise.all([service.drain(), envoy.drain(config.service.drainMs)]), drained]);
      await envoy.stop();
      await service.close();
    },
  };
}

/**
 * Runs until a signal or the end of a part. A second signal does not wait for what is under way.
 * @returns the exit code
 */
export async function untilStopped(failed: Promise<string>, close: () => Promise<void>): Promise<number> {
  const asked = new Promise<undefined>((settle) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
      let since = 0;
      process.on(signal, () => {
        // One Ctrl-C comes twice where a parent passes it on.
        if (since > 0 && Date.now() - since > 500) process.exit(130);
        since ||= Date.now();
        settle(undefined);
      });
    }
  });
  const failure = await Promise.race([failed, asked]);
  if (failure !== undefined) complain(`${failure}: everything ends.`);
  try {
    await close();
  } catch (error) {
    if (!(error instanceof PartsError)) throw error;
    complain(error.message);
    // An orderly exit waits for the very calls that do not return.
    process.kill(process.pid, 'SIGKILL');
  }
  return failure === undefined ? 0 : 1;
}

/** @returns the exit code */
export async function up(file: string, options: Pick<ServiceOptions, 'acceptLoss'> = {}): Promise<number> {
  const gateway = await startGateway(file, options);
  say(`Sluice is up: ${listenerUrls(gateway.config).join(', ')}. Ctrl-C ends it.`);
  return await untilStopped(gateway.failed, () => gateway.close());
}

/** @returns the exit code */
export async function serve(file: string, options: Pick<ServiceOptions, 'acceptLoss'> = {}): Promise<number> {
  const service = await startService(await configuration(file, 'service'), options);
  return await untilStopped(new Promise(() => {}), () => service.close());
}
