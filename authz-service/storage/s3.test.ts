import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Secret } from '../credential/secret.ts';
import type { AwsIdentity } from './aws_credentials.ts';
import { type CallerOptions, caller } from './call.ts';
import { codeOf, SHARED_BEHAVIOURS, WRITE_ONCE_BEHAVIOURS } from './object_store.behaviour.ts';
import { Bucket, type Flaw } from './s3.fixture.ts';
import { type LockMode, S3Store } from './s3.ts';

let bucket: Bucket;
let forgotten = 0;
const opened: { close(): void }[] = [];

const identity: AwsIdentity = {
  credentials: async () => ({
    accessKeyId: 'id',
    secretAccessKey: new Secret('key'),
    sessionToken: undefined,
    expiresAt: Number.POSITIVE_INFINITY,
  }),
  forget: () => {
    forgotten += 1;
  },
};

const storeOf = (lock?: LockMode, options: CallerOptions = {}): S3Store => {
  const call = caller({ timeoutMs: 300, firstWaitMs: 1, ...options });
  opened.push(call);
  const { endpoint } = bucket;
  return new S3Store({
    endpoint,
    region: 'eu-test-1',
    bucket: 'evidence',
    prefix: 'log/',
    pathStyle: true,
    identity,
    call,
    pointers: new Set(['checkpoint']),
    ...(lock && { lock }),
  });
};

beforeEach(async () => {
  bucket = await Bucket.open();
  forgotten = 0;
});

afterEach(async () => {
  for (const call of opened.splice(0)) call.close();
  await bucket.close();
});

describe('an S3 store', () => {
  it.each(SHARED_BEHAVIOURS)('without locks $what', ({ show }) => show(storeOf()));
  it.each([...SHARED_BEHAVIOURS, ...WRITE_ONCE_BEHAVIOURS])('with locks $what', ({ show }) => show(storeOf('compliance')));
  it.each(WRITE_ONCE_BEHAVIOURS)('with locks that some may lift $what', ({ show }) => show(storeOf('governance')));

  it('says what it saw', async () => {
    const locked = storeOf('compliance');
    await locked.verify();
    expect(locked.proven).toEqual([
      'Object Lock is enabled on the bucket',
      'a second conditional put is refused',
      'of a locked object: shortening its retention is refused',
      'of a locked object: deleting it is refused',
      'the first version outlasts a deletion and a second put',
    ]);
    const plain = storeOf();
    await plain.verify();
    expect(plain.proven).toEqual(['a second conditional put is refused']);
    expect(await codeOf(plain.put('a', Buffer.from('a'), { retainUntil: new Date() }))).toBe('unsupported');
    expect(await codeOf(plain.hold('a', true))).toBe('unsupported');
  });

  it.each(['', '/a', '../a', 'a//b', 'a/../b', 'A', 'a?b', 'a#b', 'a%2e'])('has no key %o', async (key) => {
    for (const store of [storeOf(), storeOf('compliance')]) expect(await codeOf(store.put(key, Buffer.from('a')))).toBe('malformed');
    expect(bucket.requests).toEqual([]);
  });

  it('asks for everything below its prefix', async () => {
    await storeOf().put('tile/0/000', Buffer.from('x'));
    expect(bucket.keys()).toEqual(['log/tile/0/000']);
  });

  it('removes what it probed with, once its lock is over', async () => {
    const store = storeOf('compliance');
    await store.verify();
    expect(bucket.keys()).toHaveLength(1);
    bucket.now = () => Date.now() + 10 * 60_000;
    await store.verify();
    expect([...bucket.objects.keys()]).toHaveLength(1);
  });
});

describe('a store that is not write-once is refused', () => {
  const flaws: readonly (readonly [Flaw, RegExp])[] = [
    ['no_object_lock', /the bucket has no Object Lock/],
    ['no_conditional_put', /a conditional put .* has put over/],
    ['ignores_lock', /came out under no lock/],
    ['locks_weakly', /was put under compliance until 20.* came out under governance/],
    ['locks_briefly', /was put under compliance until 20.* came out under compliance/],
    ['weakens', /was lengthened under compliance until 20.* came out under governance/],
    ['shortens', /shortening its retention is refused/],
    ['deletes', /deleting it is refused/],
    ['overwrites', /the first version of a locked object is gone/],
  ];
  it.each(flaws)('%s', async (flaw, why) => {
    bucket.flaws.add(flaw);
    const store = storeOf('compliance');
    await expect(store.verify()).rejects.toMatchObject({ code: 'unsupported', message: expect.stringMatching(why) });
  });

  it.each<readonly [string, number, string, string]>([
    ['the way of AWS', 403, 'AccessDenied', 'none'],
    ['the way of MinIO', 400, 'InvalidRequest', 'none'],
    ['busy', 503, 'SlowDown', 'unavailable'],
    ['broken', 500, 'InternalError', 'unavailable'],
    ['throttled', 429, 'TooManyRequests', 'unavailable'],
    ['another put under way', 409, 'OperationAborted', 'unavailable'],
    ['unknown to it', 501, 'NotImplemented', 'unsupported'],
    ['not allowed', 405, 'MethodNotAllowed', 'unsupported'],
    ['not there', 404, 'NoSuchKey', 'unsupported'],
    ['a wrong signature', 403, 'SignatureDoesNotMatch', 'unsupported'],
    ['malformed', 400, 'MalformedXML', 'unsupported'],
  ])('a refusal that is no lock’s proves nothing: %s', async (_, status, code, found) => {
    for (const what of ['retention', 'versionId'] as const) {
      bucket.refuses = { what, status, code };
      expect(await codeOf(storeOf('compliance', { attempts: 1 }).verify()), what).toBe(found);
    }
  });

  it('who may not delete versions at all cannot tell what a lock forbids', async () => {
    bucket.flaws.add('lets_nobody_delete');
    await expect(storeOf('compliance').verify()).rejects.toMatchObject({
      code: 'forbidden',
      message: expect.stringContaining('s3:DeleteObjectVersion is missing'),
    });
  });

  it('also when locks were not asked for and puts are not conditional', async () => {
    bucket.flaws.add('no_conditional_put');
    expect(await codeOf(storeOf().verify())).toBe('unsupported');
  });
});

describe('calls', () => {
  const busy = { status: 503, body: '<Error><Code>SlowDown</Code></Error>' };

  it('are tried again while the store is busy, silent or breaks off', async () => {
    bucket.faults.push(busy, undefined, 'silence');
    expect(await storeOf().put('a', Buffer.from('a'))).toBe('stored');
    expect(bucket.requests).toHaveLength(4);
  });

  it('are given up after the last attempt', async () => {
    bucket.faults.push(busy, busy);
    await expect(storeOf(undefined, { attempts: 2 }).put('a', Buffer.from('a'))).rejects.toMatchObject({
      code: 'unavailable',
      message: expect.stringContaining('SlowDown'),
    });
    // What the store says of it begins no line and moves no cursor.
    bucket.faults.push({ status: 503, body: '<Error><Code>Slow\u001b[2J</Code><Message>a\r\nVERIFIED&#155;b</Message></Error>' });
    await expect(storeOf(undefined, { attempts: 1 }).put('a', Buffer.from('a'))).rejects.toMatchObject({
      message: expect.stringMatching(/: Slow \[2J: a VERIFIED b$/),
    });
    bucket.faults.push('silence');
    expect(await codeOf(storeOf(undefined, { attempts: 1, timeoutMs: 50 }).get('a'))).toBe('unavailable');
  });

  it('wait for as long as the store asks', async () => {
    bucket.faults.push({ status: 429, headers: { 'retry-after': '1' } });
    const begun = Date.now();
    await storeOf().put('a', Buffer.from('a'));
    expect(Date.now() - begun).toBeGreaterThan(950);
  });

  it('are not tried again when that cannot help', async () => {
    bucket.faults.push({ status: 403, body: '<Error><Code>SignatureDoesNotMatch</Code></Error>' });
    expect(await codeOf(storeOf().put('a', Buffer.from('a')))).toBe('forbidden');
    expect(bucket.requests).toHaveLength(1);
  });

  it('come again with new credentials when the old ones have ended', async () => {
    bucket.faults.push({ status: 400, body: '<Error><Code>ExpiredToken</Code></Error>' });
    expect(await storeOf().put('a', Buffer.from('a'))).toBe('stored');
    expect(forgotten).toBe(1);
  });

  it('read no answer without an end', async () => {
    bucket.faults.push({ status: 200, body: Buffer.alloc(2000) });
    expect(await codeOf(storeOf(undefined, { attempts: 1, maxAnswerBytes: 1000 }).get('a'))).toBe('unavailable');
  });

  it('survive answers that are none', async () => {
    for (const body of ['', '<', '<ListBucketResult><Contents><Key>&#x110000;</Key>', 'not xml', '<Contents></Contents>']) {
      bucket.faults.push({ status: 200, body });
      const found: string[] = [];
      for await (const key of storeOf().list('')) found.push(key);
      expect(found).toEqual([]);
    }
  });

  it('name the bucket in the host where the style is that', async () => {
    const call = caller({ attempts: 1 });
    opened.push(call);
    const endpoint = new URL(bucket.endpoint);
    endpoint.hostname = 'localhost';
    const options = {
      endpoint,
      region: 'eu-test-1',
      bucket: 'evidence',
      prefix: '',
      pathStyle: false,
      identity,
      call,
      pointers: new Set<string>(),
    };
    // evidence.localhost is this machine wherever the resolver follows RFC 6761; the request is what counts.
    await new S3Store(options).get('a').catch(() => {});
    const seen = bucket.requests[0]?.headers.host;
    if (seen !== undefined) expect(seen).toMatch(/^evidence\.localhost:/);
  });
});
