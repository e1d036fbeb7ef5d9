import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('..', import.meta.url));

export interface Stage {
  readonly title: string;
  readonly command: string;
  readonly args: readonly string[];
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
 * Runs stages one after another, with their output as it comes: all of them even when one fails, so that one run tells everything.
 * @returns whether all passed
 */
export async function runStages(stages: readonly Stage[]): Promise<boolean> {
  const outcomes: Outcome[] = [];
  for (const { title, command, args } of stages) {
    process.stdout.write(`\n── ${title}\n`);
    const started = performance.now();
    const passed = await ends(command, args);
    outcomes.push({ title, passed, seconds: (performance.now() - started) / 1000 });
  }
  process.stdout.write(
    `\n${outcomes.map(({ title, passed, seconds }) => `${passed ? '✓' : '✗'} ${title} (${seconds.toFixed(1)} s)\n`).join('')}`,
  );
  return outcomes.every(({ passed }) => passed);
}

const ends = (command: string, args: readonly string[]): Promise<boolean> =>
  new Promise((settle) => {
    const child = spawn(command, args, { cwd: root, stdio: 'inherit' });
    child.once('error', (error) => {
      process.stderr.write(`${command}: ${error.message}\n`);
      settle(false);
    });
    child.once('exit', (code) => settle(code === 0));
  });
