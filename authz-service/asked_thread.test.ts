import { expect, it } from 'vitest';
import { AskedThread, ThreadEnded } from './asked_thread.ts';

/** Answers a question that is a number of megabytes when it has so many. */
const HOARDER = `
  const { parentPort } = require('node:worker_threads');
  parentPort.on('message', (megabytes) => {
    const held = [];
    for (let i = 0; i < megabytes; i++) held.push(Array.from({ length: 1 << 17 }, (_, n) => n + 0.5));
    parentPort.postMessage(held.length);
  });
`;
const code = new URL(
  `data:text/javascript,${encodeURIComponent(`import { createRequire } from 'node:module'; const require = createRequire('/'); ${HOARDER}`)}`,
);
const begin = () => new AskedThread<number, number>({ code, start: () => undefined, maxHeapMb: 24, ended: 'the hoarder has ended' });

it('gives a thread that ran out of memory twice as much, up to four times what it began with', async () => {
  const thread = begin();
  expect(await thread.ask(2)).toBe(2);
  for (const heap of [24, 48, 96, 96]) {
    const asked = thread.ask(400);
    await expect(asked).rejects.toBeInstanceOf(ThreadEnded);
    await expect(asked).rejects.toThrow(`the hoarder has ended: it ran out of its ${heap} MB of memory`);
  }
  // What did not fit at first fits now.
  expect(await thread.ask(40)).toBe(40);
  await thread.close();
}, 60_000);

it('says why it has ended, and is followed by another', async () => {
  const thread = new AskedThread<string, string>({
    code: new URL(
      `data:text/javascript,${encodeURIComponent(`import { parentPort } from 'node:worker_threads'; parentPort.on('message', (word) => { if (word === 'throw') throw new Error('a fault'); if (word === 'exit') process.exit(3); parentPort.postMessage(word); });`)}`,
    ),
    start: () => undefined,
    maxHeapMb: 64,
    ended: 'it has ended',
  });
  await expect(thread.ask('throw')).rejects.toThrow(/^it has ended: a fault$/);
  await expect(thread.ask('exit')).rejects.toThrow(/^it has ended$/);
  expect(await thread.ask('word')).toBe('word');
  await thread.close();
});
