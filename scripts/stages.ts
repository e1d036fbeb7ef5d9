import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('..', import.meta.url));

export interface Stage {
  readonly title: string;
  readonly command: string;
  readonly args: readonly string[];
  /** Beside the environment of this process. */
  readonly env?: Readonly<Record<string, string>>;
}

/** A program of node_modules, run on this Node. */
export const script = (title: string, file: string, ...args: string[]): Stage => ({
  title,
  command: process.execPath,
  args: [`node_modules/${file}`, ...args],
});

export const vitest = (title: string, ...args: string[]): Stage => script(title, 'vitest/vitest.mjs', 'run', ...args);

interface Outcome {
  readonly title: string;
  readonly passed: boolean;
  readonly seconds: number;
}

/**
 * Runs steps one after another, all of them even when one fails, so that one run tells everything. A step is a stage, whose output is shown as it comes,
 * or stages that run at the same time, whose outputs are shown one after another.
 * @returns whether all passed
 */
export async function runStages(steps: readonly (Stage | readonly Stage[])[]): Promise<boolean> {
  const outcomes: Outcome[] = [];
  for (const step of steps) {
    if ('title' in step) {
      head(step);
      outcomes.push(await outcomeOf(step));
    } else {
      const running = step.map((stage) => ({ stage, ...collected(stage) }));
      for (const { stage, outcome, output } of running) {
        outcomes.push(await outcome);
        head(stage);
        process.stdout.write(Buffer.concat(output));
      }
    }
  }
  process.stdout.write(
    `\n${outcomes.map(({ title, passed, seconds }) => `${passed ? '✓' : '✗'} ${title} (${seconds.toFixed(1)} s)\n`).join('')}`,
  );
  return outcomes.every(({ passed }) => passed);
}

const head = ({ title }: Stage): void => void process.stdout.write(`\n── ${title}\n`);

function collected(stage: Stage): { readonly outcome: Promise<Outcome>; readonly output: readonly Buffer[] } {
  const output: Buffer[] = [];
  return { outcome: outcomeOf(stage, (chunk) => output.push(chunk)), output };
}

/** @param take gets the output; without it the output is this process's own */
function outcomeOf({ title, command, args, env }: Stage, take?: (chunk: Buffer) => void): Promise<Outcome> {
  const started = performance.now();
  const { promise, resolve } = Promise.withResolvers<Outcome>();
  const end = (passed: boolean): void => resolve({ title, passed, seconds: (performance.now() - started) / 1000 });
  const child = spawn(command, args, { cwd: root, stdio: take ? ['inherit', 'pipe', 'pipe'] : 'inherit', env: { ...process.env, ...env } });
  for (const stream of [child.stdout, child.stderr]) stream?.on('data', (chunk: Buffer) => take?.(chunk));
  child.once('error', (error) => {
    process.stderr.write(`${command}: ${error.message}\n`);
    end(false);
  });
  child.once('close', (code) => end(code === 0));
  return promise;
}
