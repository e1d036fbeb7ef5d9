import { tmpdir } from 'node:os';
import { describe, expect, it } from 'vitest';
import { checkStateDirectory, placeOf } from './state_directory.ts';

const of = (type: number) => () => ({ type });

describe.runIf(process.platform === 'linux')('a state directory', () => {
  it.each([['/'], [tmpdir()], ['/proc'], ['/dev/shm']])('in %s is on this machine, as this kernel says', (path) => {
    expect(placeOf(path)).toEqual({ kind: 'local' });
  });

  it.each([
    [0x6969, 'NFS'],
    [0xff534d42, 'CIFS'],
    // As a kernel with words of 32 bits has it.
    [0xff534d42 | 0, 'CIFS'],
    [0xfe534d42, 'SMB 2'],
    [0x00c36400, 'Ceph'],
  ])('of the type %i is refused, unless that is said to be meant', (type, name) => {
    const said: string[] = [];
    const check = (stateOnNetwork: boolean): void =>
      checkStateDirectory({ stateDir: '/state', stateOnNetwork }, { error: (_, message) => said.push(message) }, of(type));
    expect(() => check(false)).toThrow(`state_dir (/state) is on ${name}: it must be on a file system of this machine`);
    expect(said).toEqual([]);
    check(true);
    expect(said).toEqual([expect.stringContaining('ON A NETWORK FILE SYSTEM')]);
  });

  it.each([[0x65735546], [0x01021997]])('of the type %i, behind which anything may be, is warned of', (type) => {
    const said: string[] = [];
    checkStateDirectory({ stateDir: '/state', stateOnNetwork: false }, { error: (_, message) => said.push(message) }, of(type));
    expect(said).toEqual([expect.stringContaining('MAY BE ON ANOTHER MACHINE')]);
  });

  it('that cannot be looked at is told as it is', () => {
    expect(() => checkStateDirectory({ stateDir: '/no/such/folder', stateOnNetwork: false }, { error: () => {} })).toThrow('ENOENT');
  });
});
