import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Secret } from '../credential/secret.ts';
import { ACCOUNT, ACCOUNT_KEY, Container, type Flaw } from './azure_blob.fixture.ts';
import { type AzureAccess, AzureBlobStore } from './azure_blob.ts';
import { caller } from './call.ts';
import { codeOf, SHARED_BEHAVIOURS, WRITE_ONCE_BEHAVIOURS } from './object_store.behaviour.ts';

let container: Container;
const opened: AzureBlobStore[] = [];
const withKey = (key: string): AzureAccess => ({ kind: 'key', key: { read: () => ({ secret: new Secret(key) }) } });

const storeOf = (lock?: 'compliance' | 'governance', access = withKey(ACCOUNT_KEY)): AzureBlobStore => {
  const store = new AzureBlobStore({
    account: ACCOUNT,
    endpoint: container.endpoint,
    container: 'log',
    prefix: 'gateway-1/',
    access,
    call: caller({ timeoutMs: 300, firstWaitMs: 1, attempts: 2 }),
    pointers: new Set(['checkpoint']),
    ...(lock && { lock }),
  });
  opened.push(store);
  return store;
};

beforeEach(async () => {
  container = await Container.open();
});

afterEach(async () => {
  for (const store of opened.splice(0)) await store.close();
  await container.close();
});

describe('a store of Azure blobs', () => {
  it.each(SHARED_BEHAVIOURS)('without immutability $what', ({ show }) => show(storeOf()));
  it.each([...SHARED_BEHAVIOURS, ...WRITE_ONCE_BEHAVIOURS])('with locked policies $what', ({ show }) => show(storeOf('compliance')));
  it.each(WRITE_ONCE_BEHAVIOURS)('with unlocked policies $what', ({ show }) => show(storeOf('governance')));

  it('says what it saw, and removes what it probed with once that may go', async () => {
    const store = storeOf('compliance');
    await store.verify();
    expect(store.proven).toEqual([
      'version-level immutability is enabled on the container',
      'a second conditional put is refused',
      'of a locked blob: shortening its retention is refused',
      'of a locked blob: deleting it is refused',
      'the first version outlasts a second put',
    ]);
    expect(container.blobs.size).toBe(1);
    container.now = () => Date.now() + 10 * 60_000;
    await store.verify();
    expect(container.blobs.size).toBe(1);
  });

  it('comes with a token of Entra, or with the key of the account, and with nothing else', async () => {
    expect(await codeOf(storeOf(undefined, withKey('d3Jvbmc=')).get('a'))).toBe('forbidden');
    container.token = 'the-token';
    expect(await storeOf(undefined, { kind: 'token', token: async () => 'the-token' }).get('a')).toBeUndefined();
    expect(await codeOf(storeOf(undefined, { kind: 'token', token: () => Promise.reject(new Error('no identity')) }).get('a'))).toBe(
      'unavailable',
    );
  });

  it.each<readonly [Flaw, RegExp]>([
    ['no_immutability', /no version-level immutability/],
    ['no_conditional_put', /a conditional put .* has put over/],
    ['ignores_policy', /came out under none/],
    ['shortens', /a locked policy was shortened/],
    ['deletes', /a locked version was deleted/],
    ['overwrites', /the first version of a locked blob is gone/],
  ])('is refused when it is not write-once: %s', async (flaw, why) => {
    container.flaws.add(flaw);
    await expect(storeOf('compliance').verify()).rejects.toMatchObject({ code: 'unsupported', message: expect.stringMatching(why) });
  });

  it('is not proven while it is busy where a lock would refuse', async () => {
    container.flaws.add('busy');
    expect(await codeOf(storeOf('compliance').verify())).toBe('unavailable');
  });
});
