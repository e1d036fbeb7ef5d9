/** Shows steps on stderr as they go: one line each, rewritten in place on a terminal. Plain Node 20 JavaScript, as all of set-up. */

const { stderr } = process;
const seconds = (since) => `${((performance.now() - since) / 1000).toFixed(1)} s`;
const clear = () => stderr.isTTY && stderr.write('\r\x1b[K');

/** Set-up cannot go on: `tried` has a line for each way that failed, `remedies` one for each thing that the user can do. */
export class SetupError extends Error {
  constructor(message, { tried = [], remedies = [] } = {}) {
    super(message);
    this.tried = tried;
    this.remedies = remedies;
  }

  /** For people, on several lines. */
  explain() {
    const list = (title, lines) => (lines.length === 0 ? [] : ['', title, ...lines.map((line) => `  - ${line}`)]);
    return [this.message, ...list('Tried:', this.tried), ...list('What you can do:', this.remedies)].join('\n');
  }
}

/**
 * Runs one step. `run` gets `say` (what is being done just now, shown on a terminal only) and `note` (a line that stays), and
 * returns what was found or done; a step that had nothing to do returns it as `{ already: … }`.
 * @param {string} title
 * @param {(progress: { say: (text: string) => void, note: (text: string) => void }) => Promise<string | { already: string }>} run
 */
export async function step(title, run) {
  const started = performance.now();
  const say = (text) => stderr.isTTY && stderr.write(`\r\x1b[K  … ${title}: ${text}`.slice(0, (stderr.columns || 80) + 3));
  const note = (text) => {
    clear();
    stderr.write(`    ${title}: ${text}\n`);
  };
  say('looking');
  try {
    const result = await run({ say, note });
    clear();
    stderr.write(typeof result === 'string' ? `  ✓ ${title}: ${result} (${seconds(started)})\n` : `  ✓ ${title}: ${result.already}\n`);
  } catch (error) {
    clear();
    stderr.write(`  ✗ ${title}\n`);
    throw error;
  }
}
