/** The files of a tar archive (POSIX ustar), as `opa build` writes its bundles. */

const BLOCK = 512;
const NAME = 100;
const SIZE_AT = 124;
const TYPE_AT = 156;
const PREFIX_AT = 345;
const REGULAR = ['0', '\0'];

/** @returns contents by name, without a leading slash @throws {RangeError} when a header or its file is cut off */
export function filesOf(archive: Uint8Array<ArrayBuffer>): Map<string, Uint8Array<ArrayBuffer>> {
  const files = new Map<string, Uint8Array<ArrayBuffer>>();
  const text = (at: number, length: number): string =>
    Buffer.from(archive.subarray(at, at + length))
      .toString('utf8')
      .split('\0', 1)[0] ?? '';
  for (let at = 0; at + BLOCK <= archive.length && archive[at] !== 0; ) {
    const size = Number.parseInt(text(at + SIZE_AT, 12).trim(), 8);
    const from = at + BLOCK;
    if (!(size >= 0) || from + size > archive.length) throw new RangeError('the archive is cut off or damaged');
    const prefix = text(at + PREFIX_AT, 155);
    if (REGULAR.includes(String.fromCharCode(archive[at + TYPE_AT] ?? 0))) {
      files.set(`${prefix ? `${prefix}/` : ''}${text(at, NAME)}`.replace(/^\.?\//, ''), archive.slice(from, from + size));
    }
    at = from + Math.ceil(size / BLOCK) * BLOCK;
  }
  return files;
}
