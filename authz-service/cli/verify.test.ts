import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { DRAWING } from '../evidence/page.ts';
import { formatVerifierKey, generateSignerKey, parseSignerKey, type VerifierKey } from '../tlog/note.ts';
import { LogFixture, opened } from '../verify/log.fixture.ts';
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
    return { code: await run(args.includes('--log') ? args : [...args, '--log', at('log')]), told };
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
};

describe('sluice verify', () => {
  it('verifies the log, a session, an event', async () => {
    for (const args of [[], ['ses_3'], ['--event', '299'], ['--key', at('log', 'keys')]])
      expect(await sluice('verify', ...args)).toMatchObject({ code: 0, told: expect.stringMatching(/^VERIFIED/) });
  });

  it('says of an event what it is, and of which session', async () => {
    expect((await sluice('verify', '--event', '13')).told).toMatch(
      /^VERIFIED: event 13: request_judged of session ses_3 on demo, 2026-09-21T14:13:20.013Z\n/,
    );
  });

  it('reads a replica of the configuration where it lies, by its name, and says what there is when there is none', async () => {
    const config = write(
      'sluice.yaml',
      `version: 1
state_dir: state
listeners: [{ name: http, address: 127.0.0.1:8080 }]
issuers: [{ name: corp, issuer: 'https://issuer.example', audiences: [gateway] }]
targets: [{ name: demo, listener: http, url: 'http://127.0.0.1:9' }]
policy: { path: ${at('policies')} }
tap: { replicas: [{ name: vault, type: directory, path: ${at('log')} }] }
`,
    );
    mkdirSync(at('policies'));
    const on = (...args: string[]) => sluice(...args, '--config', config);
    const page = at('page.html');
    expect(await on('verify', '--log', 'vault')).toMatchObject({ code: 0, told: expect.stringMatching(/^VERIFIED/) });
    expect(await on('evidence', 'ses_3', '--out', page, '--log', 'vault')).toMatchObject({ code: 0 });
    expect(await on('verify', page, '--key', at('log', 'keys'))).toMatchObject({ code: 0 });
    expect(await on('verify', '--log', 'elsewhere')).toEqual({
      code: 1,
      told: expect.stringContaining('There is no folder elsewhere, and no such replica: the configuration has vault.'),
    });
    expect(await on('verify', '--log', at('page.html'))).toMatchObject({ code: 1, told: expect.stringContaining('is a file') });
    rmSync(at('log'), { recursive: true });
    expect(await on('verify', '--log', 'vault')).toMatchObject({ code: 1, told: expect.stringContaining('There is no published log at') });
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

/** A log of the same key, the first leaves of which are the same. */
const forked = (at: number, size: number): LogFixture => new LogFixture(log.key).fill(at).add('ses_rewritten', opened).fill(size);
const parts = [[], ['ses_3'], ['--event', '7']];

describe('sluice verify with what the verifier brings', () => {
  const faults = async (...args: string[]): Promise<[number, string[]]> => {
    const { code, told } = await sluice('verify', ...args, '--json');
    return [code, JSON.parse(told.slice(told.indexOf('{'), told.lastIndexOf('}') + 1)).faults.map((fault: { code: string }) => fault.code)];
  };
  const key = (of: LogFixture): string => formatVerifierKey(of.key.verifier);

  it('takes no log by another key, also one of the same name that lies beside it; one of several is enough', async () => {
    const other = new LogFixture().fill(300);
    expect((await sluice('evidence', 'ses_3', '--out', at('page.html'))).code).toBe(0);
    for (const part of [...parts, [at('page.html')]]) {
      expect(await faults(...part, '--key', key(other))).toEqual([1, ['signature']]);
      expect(await faults(...part, '--key', key(log))).toEqual([0, []]);
      expect(await faults(...part, '--key', write('keys', `# of before\n${key(other)}\n${key(log)}\n`))).toEqual([0, []]);
    }
    // Written anew, with a key of its own beside it.
    publish(other);
    for (const part of parts) {
      expect(await faults(...part, '--key', key(log))).toEqual([1, ['signature']]);
      expect(await faults(...part)).toEqual([0, []]);
    }
  });

  it('takes no log by a key that is none, nor of another name than it was given', async () => {
    expect(await sluice('verify', '--key', 'nonsense')).toEqual({ code: 1, told: expect.stringMatching(/^--key: /) });
    expect(await sluice('verify', '--key', write('empty', '# none\n'))).toEqual({
      code: 1,
      told: `--key: there is no key in ${at('empty')}.\n`,
    });
    for (const part of parts) {
      expect(await faults(...part, '--origin', 'sluice.test/other')).toEqual([1, ['signature']]);
      expect(await faults(...part, '--origin', 'sluice.test/log')).toEqual([0, []]);
    }
  });

  it.each(['--checkpoint', '--remember'])('%s: the log, a session and an event must go on from it', async (option) => {
    const kept = write('kept', log.checkpoint(200));
    for (const part of parts) {
      writeFileSync(kept, log.checkpoint(200));
      const report = await sluice('verify', ...part, option, kept);
      expect(report).toMatchObject({ code: 0, told: expect.stringContaining('kept        a checkpoint of 200 leaves') });
      expect(report.told).toContain('trust       remembered: ');
    }
    // Another history that begins as this one does, and one that is shorter.
    for (const [of, code] of [
      [forked(100, 300), 'forked'],
      [new LogFixture(log.key).fill(199), 'rolled-back'],
      [new LogFixture(log.key).fill(199).add('ses_rewritten', opened), 'forked'],
    ] as const) {
      publish(of);
      writeFileSync(kept, log.checkpoint(200));
      for (const part of parts) {
        expect(await faults(...part)).toEqual([0, []]);
        expect(await faults(...part, option, kept)).toEqual([1, [code]]);
        // What was kept stays.
        expect(readFileSync(kept, 'utf8')).toBe(log.checkpoint(200));
      }
    }
  });

  it('takes no checkpoint that the log has not signed', async () => {
    for (const [note, code] of [
      [new LogFixture().fill(200).checkpoint(), 'signature'],
      ['nonsense', 'malformed'],
    ] as const)
      for (const part of parts) expect(await faults(...part, '--checkpoint', write('kept', note))).toEqual([1, [code]]);
    expect(await sluice('verify', '--checkpoint', at('nowhere'))).toEqual({ code: 1, told: expect.stringContaining('cannot be read') });
    expect(await sluice('verify', '--checkpoint', at('kept'), '--remember', at('kept'))).toMatchObject({ code: 2 });
  });

  it('keeps with --remember the newest, says where, and goes on from that', async () => {
    const kept = at('kept');
    const { code, told } = await sluice('verify', '--remember', kept);
    expect([code, told]).toEqual([0, expect.stringContaining(`${kept}: the checkpoint of 300 leaves is kept; `)]);
    expect(told).toContain('trust       self-consistent: ');
    expect(readFileSync(kept, 'utf8')).toBe(log.checkpoint());
    publish(log.fill(400));
    expect((await sluice('verify', '--remember', kept)).told).toContain('a checkpoint of 300 leaves\n');
    expect(readFileSync(kept, 'utf8')).toBe(log.checkpoint(400));
    expect((await sluice('verify', 'ses_3', '--remember', kept)).told).toContain('a checkpoint of 400 leaves\n');
  });

  it('keeps nothing of a log that is not verified, nor where it cannot', async () => {
    const [event, kept] = [at('log/details/events/000'), at('kept')];
    const bytes = readFileSync(event);
    writeFileSync(event, Buffer.from(bytes.with(60, (bytes[60] as number) ^ 1)));
    expect(await sluice('verify', '--remember', kept)).toEqual({ code: 1, told: expect.stringContaining(`Nothing is kept in ${kept}.\n`) });
    expect(existsSync(kept)).toBe(false);
    writeFileSync(kept, log.checkpoint(200));
    expect((await sluice('verify', '--remember', kept)).told).toContain(`${kept} stays as it was.\n`);
    expect(readFileSync(kept, 'utf8')).toBe(log.checkpoint(200));
    writeFileSync(event, bytes);
    expect(await sluice('verify', '--remember', at('no', 'folder'))).toEqual({
      code: 0,
      told: expect.stringContaining('is not kept: ENOENT'),
    });
  });

  it('counts a witness once, whatever its keys, and no line twice', async () => {
    const one = Array.from({ length: 2 }, () => parseSignerKey(generateSignerKey('w.test/one', 'cosignature')));
    write('log/checkpoint.witnessed', log.cosigned(one));
    const named = write('witnesses', one.map(({ verifier }) => `${formatVerifierKey(verifier)}\n`).join(''));
    const twice = write('twice', `${formatVerifierKey(one[0]?.verifier as VerifierKey)}\n`.repeat(2));
    for (const part of parts) {
      expect(await faults(...part, '--witness', named, '--quorum', '2')).toEqual([1, ['witnesses']]);
      expect(await faults(...part, '--witness', named, '--quorum', '1')).toEqual([0, []]);
      expect(await faults(...part, '--witness', twice, '--quorum', '2')).toEqual([1, ['witnesses']]);
    }
  });
});

describe('of a copy whose events were removed', () => {
  const reported = async (...args: string[]) => {
    const { code, told } = await sluice('verify', ...args, '--json');
    return [code, JSON.parse(told)];
  };

  it('the log, a session, an event and a page are incomplete, with an exit code of its own', async () => {
    rmSync(at('log', 'details'), { recursive: true });
    const { code, told } = await sluice('verify', '--remember', at('kept'));
    // Nothing was changed: what it is to go on from is known.
    expect(readFileSync(at('kept'), 'utf8')).toBe(log.checkpoint());
    expect([code, told]).toEqual([
      4,
      expect.stringMatching(/(?:^|\n)INCOMPLETE: .*\n(?:.*\n)*.*missing {5}300 events, and nothing records why/),
    ]);
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

describe('junk in a copy', () => {
  it('among the kept checkpoints keeps nobody from verifying it', async () => {
    write('log/checkpoints/0000000000000007', 'junk');
    write('log/checkpoints/readme', 'junk');
    write('log/checkpoints/Read Me.txt', 'junk');
    expect(await sluice('verify')).toMatchObject({
      code: 0,
      told: expect.stringContaining('note        2 files among the kept checkpoints: no checkpoint of the size that the name says'),
    });
  });

  it('in the list of keys is told by file and line', async () => {
    write('log/keys', `${readFileSync(at('log/keys'), 'utf8')}\n0 x+1+junk\n`);
    for (const args of [['verify'], ['evidence', 'ses_3', '--out', at('page.html')], ['verify', '--key', at('log/keys')]])
      expect(await sluice(...args)).toMatchObject({ code: 1, told: expect.stringMatching(/log\/keys, line 3: a key is NAME/) });
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
      code: 5,
      told: expect.stringMatching(
        /^EVIDENCE VERIFIED, ITS READABLE PART WAS NOT COMPARED: [\s\S]*READABLE PART WAS NOT COMPARED[\s\S]*use a newer version[\s\S]*again.html: drawn again by this version, and verified.\n$/,
      ),
    });
    expect(readFileSync(at('again.html'), 'utf8')).toBe(own);
    for (const [path, code] of [
      ['other.html', 5],
      ['again.html', 0],
    ] as const)
      for (const json of [[], ['--json']]) expect((await sluice('verify', at(path), ...json)).code).toBe(code);
    for (const [out, message] of [
      ['again.html', 'is there already'],
      ['none/again.html', 'cannot be written: ENOENT'],
    ] as const)
      expect(await sluice('verify', at('other.html'), '--redraw', at(out))).toMatchObject({
        code: 1,
        told: expect.stringContaining(message),
      });
    // With the verdict on the page that it comes of.
    rmSync(at('log', 'details', 'payloads'), { recursive: true });
    expect(await sluice('evidence', 'ses_3', '--out', at('cut.html'))).toMatchObject({ code: 4 });
    expect(await sluice('verify', at('cut.html'), '--redraw', at('cut-again.html'))).toMatchObject({
      code: 4,
      told: expect.stringMatching(/^INCOMPLETE[\s\S]*cut-again.html: drawn again by this version, and verified.\n$/),
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
