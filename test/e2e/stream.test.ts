import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type Question, StreamGateway } from './stream.fixture.ts';

let gateway: StreamGateway;
beforeAll(async () => {
  gateway = await StreamGateway.start();
});
afterAll(async () => {
  await gateway?.close();
});

/** The door is asked this, sooner or later. */
async function asked(method: string): Promise<Question> {
  for (const deadline = Date.now() + 10_000; Date.now() < deadline; await sleep(2)) {
    const found = gateway.door.asked.findLast((question) => question.method.endsWith(`/${method}`));
    if (found) return found;
  }
  throw new Error(`${method} was not asked`);
}

beforeEach(() => {
  gateway.door.asked.length = 0;
});

const theirs = () => gateway.target.at(-1) as (typeof gateway.target)[number];

describe('bytes', () => {
  test('pass where the protocol sends them, both ways, and are rewritten where it says', async () => {
    const client = gateway.client().send('pone\nPtwo\n');
    await client.says('pone\nPtwo\n');
    theirs().socket.write('shout\ndropped\nplain\n');
    await client.says('SHOUT\nplain\n');
    expect(client.text).toBe('pone\nPtwo\nSHOUT\nplain\n');
  });

  test('of an unfinished line wait in the filter, in both directions', async () => {
    const client = gateway.client().send('phal');
    await sleep(100);
    client.send('f\nP');
    await client.says('phalf\n');
    expect(theirs().received.toString()).toBe('phalf\n');
    theirs().socket.write('sh');
    await sleep(50);
    expect(client.text).toBe('phalf\n');
    theirs().socket.write('out\nx');
    await client.says('SHOUT\n');
    client.send('rest\n');
    await client.says('Prest\n');
    expect(client.text).toBe('phalf\nSHOUT\nxPrest\n');
  });

  test('the protocol is told who, where and through what', async () => {
    const client = gateway.client().send('f\n');
    await client.says('\n');
    expect(client.text).toMatch(/^f lines 127\.0\.0\.1:\d+ ses-of-the-tunnel [0-9a-f]{32}\n$/);
  });
});

describe('the door', () => {
  test('is asked, and what follows waits in order', async () => {
    gateway.door.answer = async ({ message }) => {
      await sleep(30);
      return Buffer.from(`<${message.subarray(2)}>`);
    };
    const client = gateway.client().send('jone\npbetween\njtwo\nplast\n');
    await client.says('plast\n');
    expect(client.text).toBe('<jone> jone\npbetween\n<jtwo> jtwo\nplast\n');
    expect(gateway.door.asked.map(({ method }) => method)).toContain('/sluice.session.v1.SessionDoor/Judge');
  });

  test('holds for seconds, while the target speaks and the client sends more', async () => {
    let release = (_: Buffer): void => {};
    gateway.door.answer = () => new Promise((settle) => (release = settle));
    const client = gateway.client().send('pfirst\n');
    await client.says('pfirst\n');
    client.send('aheld\npafter\n');
    await sleep(3_000);
    theirs().socket.write('snews\n');
    client.send('plater\n');
    await client.says('SNEWS\n');
    expect(theirs().received.toString()).toBe('pfirst\n');
    release(Buffer.from('yes'));
    await client.says('plater\n');
    expect(client.text).toBe('pfirst\nSNEWS\nyes aheld\npafter\nplater\n');
  });

  test('sees that a question was given up', async () => {
    gateway.door.answer = () => new Promise(() => {});
    const client = gateway.client().send('gheld\n');
    await client.says('given up gheld\n');
    await gateway.door.asked.at(-1)?.gone;
  });

  test('sees that a client has gone, and is told of the end', async () => {
    gateway.door.answer = ({ method }) => (method.endsWith('/Close') ? Buffer.alloc(0) : new Promise(() => {}));
    const client = gateway.client().send('pone\naheld\n');
    await client.says('pone\n');
    const held = await asked('Await');
    gateway.door.asked.length = 0;
    client.socket.destroy();
    await held.gone;
    await asked('Close');
    await client.until(() => theirs().ended);
    expect(theirs().received.toString()).toBe('pone\n');
  });

  test('an error of the door is told as its status', async () => {
    gateway.door.answer = () => 13;
    const client = gateway.client().send('jone\n');
    await client.says('!13 jone\n');
  });

  test('a door that goes away while it is asked, and one that is not there: the protocol hears, and the connection goes on', async () => {
    gateway.door.answer = () => new Promise(() => {});
    const held = gateway.client().send('aheld\n');
    await asked('Await');
    await gateway.withoutDoor(async () => {
      await held.says('!14 aheld\n');
      const client = gateway.client().send('jone\n');
      await client.says(' jone\n');
      expect(client.text).toMatch(/^(!14|away) jone\n$/);
    });
    gateway.door.answer = () => Buffer.from('back');
    const client = gateway.client();
    for (let i = 0; i < 50 && !client.text.includes('back'); i++) {
      client.send('jagain\n');
      await sleep(100);
    }
    expect(client.text).toContain('back jagain\n');
  });
});

describe('the end', () => {
  test('half-close: the target hears of it once all is consumed, and what it still says arrives', async () => {
    const client = gateway.client().send('pone\n');
    await client.says('pone\n');
    client.socket.end('plast\n');
    await client.until(({ ended }) => ended);
    expect(client.text).toBe('pone\nplast\n');
    expect(theirs().ended).toBe(true);
    await client.until(({ closed }) => closed);
  });

  test('a refusal in place of a reply arrives whole before the connection closes', async () => {
    for (let i = 0; i < 20; i++) {
      const client = gateway.client().send('bad\n');
      await client.until(({ ended, closed }) => ended || closed);
      expect(client.text).toBe('refused\n');
      expect(theirs().received.toString()).toBe('ping\n');
    }
  });

  test("close from the client's direction: both sides end, nothing of it reached the target", async () => {
    const client = gateway.client().send('pone\n');
    await client.says('pone\n');
    client.send('x\npnever\n');
    await client.until(({ ended, closed }) => ended || closed);
    await client.until(() => theirs().ended);
    expect(theirs().received.toString()).toBe('pone\n');
  });

  test('the target closes: the client gets the last bytes and the end', async () => {
    const client = gateway.client().send('pone\n');
    await client.says('pone\n');
    theirs().socket.end('slast\n');
    await client.until(({ ended, closed }) => ended || closed);
    expect(client.text).toBe('pone\nSLAST\n');
  });
});

describe('much', () => {
  const line = (letter: string, size: number): Buffer => Buffer.from(`${letter}${'x'.repeat(size - 2)}\n`);

  test('64 MiB pass both ways, unchanged', async () => {
    const client = gateway.client();
    const block = Buffer.concat([line('P', 3_001), line('P', 100), line('p', 20_000), line('P', 7), line('P', 70_001)]);
    const rounds = Math.ceil((64 << 20) / block.length);
    let got = 0;
    let same = true;
    client.socket.removeAllListeners('data');
    client.socket.on('data', (chunk: Buffer) => {
      for (let at = 0; at < chunk.length; ) {
        const from = (got + at) % block.length;
        const n = Math.min(block.length - from, chunk.length - at);
        same &&= block.compare(chunk, at, at + n, from, from + n) === 0;
        at += n;
      }
      got += chunk.length;
    });
    for (let i = 0; i < rounds; i++) if (!client.socket.write(block)) await new Promise((settle) => client.socket.once('drain', settle));
    await client.until(() => got === rounds * block.length, 60_000);
    expect(same).toBe(true);
  });

  test('a line of 1 MiB is collected', async () => {
    const client = gateway.client().send(line('j', 1 << 20));
    gateway.door.answer = () => Buffer.from('ok');
    await client.until(({ received }) => received.length === (1 << 20) + 3, 20_000);
    expect(client.text.startsWith('ok jxxx')).toBe(true);
  });

  test('a client whose bytes are not consumed is made to wait, in bounded memory, and goes on when they are', async () => {
    let release = (_: Buffer): void => {};
    gateway.door.answer = () => new Promise((settle) => (release = settle));
    const client = gateway.client().send('aheld\n');
    const block = Buffer.concat(Array.from({ length: 100 }, () => line('p', 655)));
    const total = Math.ceil((48 << 20) / block.length);
    let written = 0;
    const writing = (async () => {
      for (; written < total; written++)
        if (!client.socket.write(block)) await new Promise((settle) => client.socket.once('drain', settle));
    })();
    for (let before = -1; before !== written; await sleep(1_000)) before = written;
    expect(written * block.length).toBeLessThan(16 << 20);
    theirs().socket.write('snews\n');
    await client.says('SNEWS\n');
    // Injected past what waits, of which a part lies in Envoy's own buffer: nothing of it goes with it.
    const before = theirs().received.length;
    theirs().socket.write('inject\nsmore\n');
    await client.says('SMORE\n');
    await client.until(() => theirs().received.length > before);
    await sleep(200);
    expect(theirs().received.subarray(before).toString()).toBe('ping\n');
    let got = client.received.length;
    client.socket.removeAllListeners('data');
    client.socket.on('data', (chunk: Buffer) => (got += chunk.length));
    release(Buffer.from('yes'));
    await writing;
    await client.until(() => got === total * block.length + 'SNEWS\ninject\nSMORE\nping\nyes aheld\n'.length, 60_000);
  });
});

describe('a trap', () => {
  test('takes the connections of its VM, lets nothing through, and new ones are served', async () => {
    gateway.door.answer = () => new Promise(() => {});
    const idle = gateway.client().send('pidle\n');
    await idle.says('pidle\n');
    const its = theirs();
    const held = gateway.client().send('pheld\n');
    await held.says('pheld\n');
    held.send('aheld\n');
    const heldTarget = theirs();
    await asked('Await');
    const trapping = gateway.client().send('trap\n');
    await trapping.until(({ ended, closed }) => ended || closed);
    const fresh = gateway.client().send('pfresh\n');
    await fresh.says('pfresh\n');
    // Bytes of old connections, of either side, end them unseen by the other.
    its.socket.write('secret\n');
    held.send('punjudged\n');
    await idle.until(({ ended, closed }) => ended || closed);
    await held.until(({ ended, closed }) => ended || closed);
    expect(idle.text).toBe('pidle\n');
    expect(heldTarget.received.toString()).toBe('pheld\n');
  });
});
