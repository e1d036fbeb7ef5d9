/**
 * Whether the state directory is where it can be. Its index of sessions is SQLite with a write-ahead log, which maps memory that is shared through a file, and its locks are
 * those of files: both are the business of one machine's kernel. On a network file system two machines, or a server that comes back, make of that what they like.
 */
import { statfsSync } from 'node:fs';

/** What is told of a file system in `statfs`, on Linux (statfs(2), and the kernel's `magic.h`). */
const NETWORK: ReadonlyMap<number, string> = new Map([
  [0x6969, 'NFS'],
  [0x517b, 'SMB'],
  [0xff534d42, 'CIFS'],
  [0xfe534d42, 'SMB 2'],
  [0x5346414f, 'AFS'],
  [0x6b414653, 'AFS'],
  [0x73757245, 'Coda'],
  [0x564c, 'NCP'],
  [0x00c36400, 'Ceph'],
  [0x0bd00bd0, 'Lustre'],
  [0x47504653, 'GPFS'],
  [0x19830326, 'BeeGFS'],
  [0x7461636f, 'OCFS2'],
  [0x01161970, 'GFS2'],
]);
/** Behind these there may be anything. */
const UNTOLD: ReadonlyMap<number, string> = new Map([
  [0x65735546, 'FUSE'],
  [0x01021997, '9P'],
  [0x786f4256, 'a shared folder of VirtualBox'],
  [0xbacbacbc, 'a shared folder of VMware'],
]);

/** `untold`: it may be on this machine, or not. */
export type Placed = { readonly kind: 'local' } | { readonly kind: 'network' | 'untold'; readonly name: string };

/** On what kind of file system a directory is that is there. Elsewhere than on Linux all are taken for local. */
export const placeOf = (directory: string, statfs: (path: string) => { readonly type: number } = statfsSync): Placed => {
  if (process.platform !== 'linux') return { kind: 'local' };
  // Where the kernel's word is signed, it is negative.
  const type = statfs(directory).type >>> 0;
  const [network, untold] = [NETWORK.get(type), UNTOLD.get(type)];
  if (network !== undefined) return { kind: 'network', name: network };
  return untold === undefined ? { kind: 'local' } : { kind: 'untold', name: untold };
};

export interface StateDirectory {
  readonly stateDir: string;
  /** The operator says that a network file system will do. */
  readonly stateOnNetwork: boolean;
}

/** Throws when the state directory is on a network file system, unless the operator says that it may be; what is only doubtful is logged. */
export const checkStateDirectory = (
  { stateDir, stateOnNetwork }: StateDirectory,
  logger: { error(fields: object, message: string): void },
  statfs?: (path: string) => { readonly type: number },
): void => {
  const placed = placeOf(stateDir, statfs);
  if (placed.kind === 'local') return;
  const where = `state_dir (${stateDir}) is on ${placed.name}`;
  if (placed.kind === 'network' && !stateOnNetwork)
    throw new Error(
      `${where}: it must be on a file system of this machine, for the index of sessions shares memory through it and its locks hold on one machine alone. Keep copies elsewhere by tap.replicas. With \`state_on_network: true\` the service starts all the same`,
    );
  logger.error(
    { stateDir, fileSystem: placed.name },
    placed.kind === 'network'
      ? 'THE STATE DIRECTORY IS ON A NETWORK FILE SYSTEM, as `state_on_network` allows: no other machine may use it, and a server that forgets locks or writes can cost the record'
      : 'THE STATE DIRECTORY MAY BE ON ANOTHER MACHINE: it must not be, see docs/operations.md',
  );
};
