// Which headers an exchange under masking rules keeps. docs/design/http-filter.md gives the reasons.
import { at, startsWith, utf8 } from '../abi/bytes';

class Names {
  private names: ArrayBuffer[] = [];

  constructor(list: string) {
    const names = list.split(' ');
    for (let i = 0; i < names.length; i++) this.names.push(utf8(names[i]));
  }

  has(ptr: usize, length: u32): bool {
    for (let i = 0; i < this.names.length; i++) {
      const name = unchecked(this.names[i]);
      if (<u32>name.byteLength == length && memory.compare(ptr, at(name), length) == 0) return true;
    }
    return false;
  }
}

/** Of requests: what asks for a part, another encoding, or the digest of the unmasked representation. */
export const PARTIAL_REQUEST = new Names('range if-range te a-im want-digest want-content-digest want-repr-digest');
/** Of GET and HEAD: what lets a 304 stand for a body that was masked under another decision. Elsewhere these guard a write, and stay. */
export const CACHE_VALIDATION = new Names('if-none-match if-modified-since');
/** Of responses: the length, digests, signatures and validators of bytes that the client does not get, and leave to cache or to ask for parts. */
export const ABOUT_THE_UNMASKED = new Names(
  'content-length etag last-modified content-md5 digest content-digest repr-digest signature signature-input accept-ranges cache-control expires age pragma surrogate-control cdn-cache-control',
);
/** Of responses: no value of the target's data, and of no use half masked; one in which a detector finds something is left out. */
export const FRAMING = new Names('content-type date server connection transfer-encoding vary alt-svc strict-transport-security allow');

const SLUICE_PREFIX = utf8('x-sluice-');

/** Sluice's own headers: nobody else's are believed or passed on. */
export function isSluices(name: usize, length: u32): bool {
  return startsWith(name, length, SLUICE_PREFIX);
}
