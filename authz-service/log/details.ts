/**
 * What may have to be deleted one day, beside the tree: the events of a bundle's leaves with their salts, one object for each class.
 *
 *     details/CLASS/N[.p/W]     as `tile/entries/N[.p/W]`, and only where the bundle has events of the class
 *     each event                offset u8 (its index - 256·N) · length u32 · salt 16 bytes · event        (big-endian, offsets ascend)
 */
import { indexPath, TILE_WIDTH, widthSuffix } from '../tlog/tile.ts';
import { LogError } from './error.ts';
import { type DetailClass, SALT_BYTES } from './leaf.ts';

export interface Detail {
  readonly index: number;
  readonly salt: Buffer;
  readonly event: Buffer;
}

const HEAD_BYTES = 5 + SALT_BYTES;

/** `bundle` as in the entries' path; `width` of the bundle, not how many of its events are of the class. */
export const detailsPath = (detailClass: DetailClass, bundle: number, width: number): string =>
  `details/${detailClass}/${indexPath(bundle)}${widthSuffix(width)}`;

/** What a detail takes whose event has so many bytes. */
export const detailBytes = (eventLength: number): number => HEAD_BYTES + eventLength;

/** Writes what stands before the salt; returns where that goes, with the event behind it. */
export const writeDetailHead = (into: Buffer, at: number, index: number, eventLength: number): number => {
  into[at] = index % TILE_WIDTH;
  return into.writeUInt32BE(eventLength, at + 1);
};

/** Which bundle a key of a class is of, and whether it is a partial form of it; `undefined` of a key that is none. */
export const bundleOf = (key: string, detailClass: DetailClass): { readonly bundle: number; readonly partial: boolean } | undefined => {
  const [path = '', width] = key.slice(`details/${detailClass}/`.length).split('.p/');
  const bundle = Number(path.replace(/[x/]/g, ''));
  return indexPath(bundle) === path ? { bundle, partial: width !== undefined } : undefined;
};

/** Ascending, all of one bundle. */
export const encodeDetails = (details: readonly Detail[]): Buffer => {
  const bytes = Buffer.allocUnsafe(details.reduce((sum, { event }) => sum + detailBytes(event.length), 0));
  let at = 0;
  for (const { index, salt, event } of details) {
    at = writeDetailHead(bytes, at, index, event.length);
    bytes.set(salt, at);
    bytes.set(event, at + SALT_BYTES);
    at += SALT_BYTES + event.length;
  }
  return bytes;
};

/** Views into `bytes`. Throws a `LogError` (`malformed`). */
export const decodeDetails = (bytes: Buffer, bundle: number): Detail[] => {
  const details: Detail[] = [];
  let before = -1;
  for (let at = 0; at < bytes.length; ) {
    if (at + HEAD_BYTES > bytes.length) throw new LogError('malformed', 'details end inside a head');
    const offset = bytes.readUInt8(at);
    const end = at + HEAD_BYTES + bytes.readUInt32BE(at + 1);
    if (offset <= before) throw new LogError('malformed', 'details out of order');
    if (end > bytes.length) throw new LogError('malformed', 'details end inside an event');
    const event = at + HEAD_BYTES;
    details.push({
      index: bundle * TILE_WIDTH + offset,
      salt: bytes.subarray(event - SALT_BYTES, event),
      event: bytes.subarray(event, end),
    });
    before = offset;
    at = end;
  }
  return details;
};
