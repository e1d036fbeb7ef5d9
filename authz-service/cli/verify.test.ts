import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { DRAWING } from '../evidence/page.ts';
import { formatVerifierKey, generateSignerKey, parseSignerKey } from '../tlog/note.ts';
import { LogFixture } from '../verify/log.fixture.ts';
import { run } from './run.ts';

let directory: string;
let log: LogFixture;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'sluice-verify-'));
  log = new LogFixture().fill(300);
  publish(log);
});

/** In the place of what is there. */
const publish = (of: LogFixture): void => {
  rmSync(at('log'), { recursive: true, force: true });
  for (const [key, bytes] of of.publish().objects) write(`log/${key}`, bytes);
  write('log/keys', `0 ${formatVerifierKey(of.key.verifier)}\n`);
};

const write = (name: string, bytes: Buffer | string): string => {
  mkdirSync(dirname(at(name)), { recursive: true });
  writeFileSync(at(name), bytes);
  return at(name);
};

afterEach(() => rmSync(directory, { recursive: true, force: true }));

const at = (...path: string[]): string => join(directory, ...path);

const sluice = async (...args: string[]): Promise<{ code: number; told: string }> => {
  let told = '';
  const spies = (['stdout', 'stderr'] as const).map((stream) =>
    vi.spyOn(process[stream], 'write').mockImplementation((chunk) => {
      told += chunk;
      return true;
    }),
  );
  try {
    return { code: await run([...args, '--log', at('log')]), told };
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
};

describe('sluice verify', () => {
  it('verifies the log, a session, an event', async () => {
    for (const args of [[], ['ses_3'], ['--event', '299'], ['--key', at('log', 'keys')]])
      expect(await sluice('verify', ...args)).toMatchObject({ code: 0, told: expect.stringMatching(/^VERIFIED/) });
  });

  it.each([
    ['', 2, 'There is no file "", and it is no session\'s name.'],
    ['./there/is.html', 2, 'There is no file "./there/is.html", and it is no session\'s name.'],
    [tmpdir(), 1, `${tmpdir()} cannot be read: EISDIR`],
    ['ses_none', 1, 'not-found'],
  ])('of %j says what is wrong', async (what, code, told) => {
    expect(await sluice('verify', what)).toEqual({ code, told: expect.stringContaining(told) });
  });

  it('says what is missing: the log, or its key', async () => {
    rmSync(at('log', 'keys'));
    expect(await sluice('verify')).toEqual({ code: 1, told: 'No key lies beside the log: name one with --key.\n' });
    rmSync(at('log', 'checkpoint'));
    expect(await sluice('verify')).toEqual({ code: 1, told: expect.stringContaining('There is no published log at') });
  });
});

describe('of a copy whose events were removed', () => {
  const reported = async (...args: string[]) => {
    const { code, told } = await sluice('verify', ...args, '--json');
    return [code, JSON.parse(told)];
  };

  it('the log, a session, an event and a page are incomplete, with an exit code of its own', async () => {
    rmSync(at('log', 'details'), { recursive: true });
    const { code, told } = await sluice('verify');
    expect([code, told]).toEqual([4, expect.stringMatching(/^INCOMPLETE: .*\n(?:.*\n)*.*missing {5}300 events, and nothing records why/)]);
    for (const args of [['ses_3'], ['--event', '7']])
      expect(await reported(...args)).toMatchObject([4, { verified: true, complete: false, missing: { deleted: 0, withheld: 0 } }]);
    const written = await sluice('evidence', 'ses_3', '--out', at('page.html'));
    expect(written).toEqual({
      code: 4,
      told: expect.stringContaining('Not on it, their leaves remaining: 4 events, and nothing records why'),
    });
    expect(await reported(at('page.html'))).toMatchObject([4, { complete: false, missing: { unexplained: 4 } }]);
    // What the keeper of the copy says is only of payload.
    expect(await reported('--without-payloads')).toMatchObject([4, { missing: { withheld: 75, unexplained: 225 } }]);
  });

  it('is complete where it was made without payload, and that is said', async () => {
    rmSync(at('log', 'details', 'payloads'), { recursive: true });
    for (const args of [[], ['ses_3'], ['--event', '14']])
      expect(await reported(...args, '--without-payloads')).toMatchObject([0, { complete: true, missing: { unexplained: 0 } }]);
    expect((await sluice('evidence', 'ses_3', '--out', at('page.html'), '--without-payloads')).code).toBe(0);
    expect(await reported(at('page.html'))).toMatchObject([0, { complete: true, missing: { withheld: 1 } }]);
  });
});

describe('sluice verify --witness', () => {
  const witnesses = ['w.test/one', 'w.test/two'].map((name) => parseSignerKey(generateSignerKey(name, 'cosignature')));
  const listed = witnesses.map(({ verifier }) => `${formatVerifierKey(verifier)}\n`).join('');

  it('takes what the gateway publishes as witnessed, of the log, a session, an event and a page of evidence', async () => {
    write('log/checkpoint.witnessed', log.cosigned(witnesses.slice(0, 1), 296));
    const keys = write('witnesses', `# two\n${listed}`);
    for (const args of [[], ['ses_3'], ['--event', '295']]) {
      const { code, told } = await sluice('verify', ...args, '--witness', keys, '--quorum', '1', '--json');
      expect([code, JSON.parse(told)]).toMatchObject([0, { verified: true, level: 'witnessed', size: 300, witnessedSize: 296 }]);
      expect(await sluice('verify', ...args, '--witness', keys)).toEqual({
        code: 1,
        told: expect.stringContaining('FAULT       witnesses: too few witnesses have cosigned: 1 have, and 2 of 2 must'),
      });
    }
    const page = at('page.html');
    expect((await sluice('evidence', 'ses_3', '--out', page)).told).toContain(
      'proven against a checkpoint of sluice.test/log that witnesses',
    );
    const witnessed = await sluice('verify', page, '--key', at('log', 'keys'), '--witness', keys, '--quorum', '1', '--json');
    expect([witnessed.code, JSON.parse(witnessed.told)]).toMatchObject([0, { level: 'witnessed', size: 296 }]);
    // A session that goes on behind what they have cosigned.
    expect((await sluice('evidence', 'ses_74', '--out', at('newer.html'))).told).not.toContain('witnesses');
    expect(await sluice('verify', at('newer.html'), '--witness', keys, '--quorum', '1')).toMatchObject({ code: 1 });
  });

  it.each(['0', '3', '1.5', 'x'])('takes no quorum of %s among two', async (quorum) => {
    const told = '--quorum is a number from 1 to 2, the number of witnesses.\n';
    expect(await sluice('verify', '--witness', write('witnesses', listed), '--quorum', quorum)).toEqual({ code: 2, told });
  });

  it('is nothing to be silent about when no key is named', async () => {
    expect(await sluice('verify', '--witness', write('witnesses', '# none yet\n'))).toMatchObject({ code: 1 });
    expect(await sluice('verify', '--quorum', '1')).toEqual({
      code: 2,
      told: '--quorum says how many of the witnesses that --witness names.\n',
    });
  });
});

describe('a page that another version drew', () => {
  it('is verified by its evidence, said to be no more, and drawn again', async () => {
    const page = at('page.html');
    await sluice('evidence', 'ses_3', '--out', page);
    const own = readFileSync(page, 'utf8');
    writeFileSync(
      at('other.html'),
      own.replace(`"drawing":${DRAWING}`, '"drawing":1000').replaceAll('by corp:agent-7', 'by somebody else'),
    );
    expect(await sluice('verify', at('other.html'), '--redraw', at('again.html'))).toEqual({
      code: 0,
      told: expect.stringMatching(
        /^VERIFIED[\s\S]*READABLE PART WAS NOT COMPARED[\s\S]*again.html: drawn again by this version, and verified.\n$/,
      ),
    });
    expect(readFileSync(at('again.html'), 'utf8')).toBe(own);
    for (const [out, message] of [
      ['again.html', 'is there already'],
      ['none/again.html', 'cannot be written: ENOENT'],
    ] as const)
      expect(await sluice('verify', at('other.html'), '--redraw', at(out))).toMatchObject({
        code: 1,
        told: expect.stringContaining(message),
      });
    expect(await sluice('verify', 'ses_3', '--redraw', at('x.html'))).toMatchObject({ code: 2, told: '--redraw is of a FILE.\n' });
    // Nothing is drawn of what does not verify.
    writeFileSync(
      at('bad.html'),
      own.replace('"outcome":"complete"', '"outcome":"denied"').replace(`"drawing":${DRAWING}`, '"drawing":1000'),
    );
    expect((await sluice('verify', at('bad.html'), '--redraw', at('x.html'))).code).toBe(1);
    expect(readdirSync(directory)).not.toContain('x.html');
  });
});

describe('sluice evidence', () => {
  it('writes a page that verifies, and proofs, and nothing over what is there', async () => {
    const page = at('page.html');
    const checkpoint = readFileSync(at('log', 'checkpoint'));
    expect(await sluice('evidence', 'ses_3', '--out', page, '--proofs', at('log'))).toEqual({
      code: 1,
      told: expect.stringContaining('is not empty: name another directory'),
    });
    expect(await sluice('evidence', 'ses_3', '--out', page, '--proofs', at('proofs'))).toMatchObject({ code: 0 });
    expect(await sluice('evidence', 'ses_3', '--out', page)).toMatchObject({ code: 1 });
    expect(await sluice('verify', page, '--key', at('log', 'keys'))).toMatchObject({ code: 0 });
    expect(readdirSync(at('proofs'))).toHaveLength(9);
    expect(readFileSync(at('log', 'checkpoint'))).toEqual(checkpoint);
  });

  it('takes no name that leads somewhere', async () => {
    expect(await sluice('evidence', '../ses_3')).toEqual({ code: 2, told: '"../ses_3" is no session\'s name.\n' });
  });
});
