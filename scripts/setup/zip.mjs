/** Takes one file out of a zip archive (a Python wheel is one). Source: PKWARE APPNOTE 4.3; no zip64, which no wheel of ours needs. */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { inflateRawSync } from 'node:zlib';

const END_SIGNATURE = 0x06054b50;
const ENTRY_SIGNATURE = 0x02014b50;
const LOCAL_SIGNATURE = 0x04034b50;
const END_BYTES = 22;
const MAX_COMMENT_BYTES = 0xffff;

/**
 * @param {string} archive path
 * @param {string} name of the file, as in the archive
 * @returns {Buffer} its content. Throws when the archive is damaged or has no such file.
 */
export function unzip(archive, name) {
  const fd = openSync(archive, 'r');
  try {
    const size = fstatSync(fd).size;
    const read = (offset, length) => {
      const bytes = Buffer.alloc(length);
      if (offset < 0 || readSync(fd, bytes, 0, length, offset) !== length) throw new Error(`${archive} is cut short`);
      return bytes;
    };
    const entry = find(directory(read, size, archive), name);
    if (!entry) throw new Error(`${archive} has no ${name}`);
    const local = read(entry.offset, 30);
    if (local.readUInt32LE(0) !== LOCAL_SIGNATURE) throw new Error(`${archive} is damaged at ${name}`);
    const bytes = read(entry.offset + 30 + local.readUInt16LE(26) + local.readUInt16LE(28), entry.compressed);
    const content = entry.method === 0 ? bytes : entry.method === 8 ? inflateRawSync(bytes) : undefined;
    if (content?.length !== entry.size) throw new Error(`${name} in ${archive} is damaged, or packed in an unknown way`);
    return content;
  } finally {
    closeSync(fd);
  }
}

/** The central directory: found from the end of the archive, where a comment of any length may stand. */
function directory(read, size, archive) {
  const tail = read(Math.max(0, size - END_BYTES - MAX_COMMENT_BYTES), Math.min(size, END_BYTES + MAX_COMMENT_BYTES));
  for (let at = tail.length - END_BYTES; at >= 0; at -= 1) {
    if (tail.readUInt32LE(at) === END_SIGNATURE) return read(tail.readUInt32LE(at + 16), tail.readUInt32LE(at + 12));
  }
  throw new Error(`${archive} is no zip archive`);
}

function find(entries, name) {
  for (let at = 0; at + 46 <= entries.length && entries.readUInt32LE(at) === ENTRY_SIGNATURE; ) {
    const nameBytes = entries.readUInt16LE(at + 28);
    if (entries.toString('utf8', at + 46, at + 46 + nameBytes) === name)
      return {
        method: entries.readUInt16LE(at + 10),
        compressed: entries.readUInt32LE(at + 20),
        size: entries.readUInt32LE(at + 24),
        offset: entries.readUInt32LE(at + 42),
      };
    at += 46 + nameBytes + entries.readUInt16LE(at + 30) + entries.readUInt16LE(at + 32);
  }
  return undefined;
}
