/**
 * The same files for a thread that nobody waits for: what the disk is not waited for is done in the thread itself, because handing it to another one costs more than it does. What
 * waits for the disk is handed over, several at a time, so that one commit of the file system serves them all.
 */
import fs from 'node:fs';
import { promisify } from 'node:util';
import { type FileSystem, nodeFileSystem, READ_FLAGS } from './file_system.ts';

const syncData = promisify(fs.fdatasync);

export const blockingFileSystem: FileSystem = {
  ...nodeFileSystem,
  list: async (directory) => fs.readdirSync(directory),
  isDirectory: async (path) => fs.statSync(path).isDirectory(),
  exists: async (path) => fs.statSync(path, { throwIfNoEntry: false }) !== undefined,
  open: async (path, mode) => {
    if (mode !== 'read') return nodeFileSystem.open(path, mode);
    const fd = fs.openSync(path, READ_FLAGS);
    const readOnly = async (): Promise<never> => {
      throw Object.assign(new Error(`${path} is open for reading`), { code: 'EBADF' });
    };
    return {
      writeDurably: readOnly,
      truncate: readOnly,
      read: async (into, position) => fs.readSync(fd, into, 0, into.length, position),
      size: async () => fs.fstatSync(fd).size,
      close: async () => fs.closeSync(fd),
    };
  },
  createUnsynced: async (path) => {
    const fd = fs.openSync(path, 'wx', 0o600);
    return {
      write: async (bytes) => fs.writeFileSync(fd, bytes),
      sync: () => syncData(fd),
      close: async () => fs.closeSync(fd),
    };
  },
  rename: async (from, to) => fs.renameSync(from, to),
  remove: async (path) => fs.unlinkSync(path),
};
