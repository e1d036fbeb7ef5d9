// Header maps: read as one block of pairs, written back as one. Layout: count, then (name length, value length) of each, then name NUL value NUL of each.
import { at, ByteBuffer } from './bytes';
import * as host from './hostcalls';

export const enum HeaderMap {
  REQUEST = 0,
  REQUEST_TRAILERS = 1,
  RESPONSE = 2,
  RESPONSE_TRAILERS = 3,
}

const slot = memory.data(8, 4);

/** Walks the pairs of a map. The spans lie in the host's block: valid until the next hostcall that returns bytes. */
export class HeaderPairs {
  name: usize = 0;
  nameLength: u32 = 0;
  value: usize = 0;
  valueLength: u32 = 0;
  private sizes: usize = 0;
  private left: u32 = 0;

  read(map: HeaderMap): bool {
    this.left = 0;
    if (host.proxy_get_header_map_pairs(map, slot, slot + 4) != 0) return false;
    const block = <usize>load<u32>(slot);
    if (load<u32>(slot, 4) < 4) return true;
    this.left = load<u32>(block);
    this.sizes = block + 4;
    this.name = this.sizes + (this.left << 3);
    this.nameLength = this.valueLength = 0;
    this.value = 0;
    return true;
  }

  next(): bool {
    if (this.left == 0) return false;
    if (this.value) this.name = this.value + this.valueLength + 1;
    this.nameLength = load<u32>(this.sizes);
    this.valueLength = load<u32>(this.sizes, 4);
    this.value = this.name + this.nameLength + 1;
    this.sizes += 8;
    this.left--;
    return true;
  }
}

/** Builds a block of pairs. */
export class HeaderBlock {
  private sizes: ByteBuffer = new ByteBuffer(256);
  private texts: ByteBuffer = new ByteBuffer(2048);
  /** The finished block, after `finish`. */
  block: ByteBuffer = new ByteBuffer(2048);
  private count: u32 = 0;

  reset(): void {
    this.count = 0;
    this.sizes.reset();
    this.texts.reset();
  }

  add(name: usize, nameLength: u32, value: usize, valueLength: u32): void {
    this.count++;
    this.sizes.u32(nameLength);
    this.sizes.u32(valueLength);
    this.texts.write(name, nameLength);
    this.texts.byte(0);
    this.texts.write(value, valueLength);
    this.texts.byte(0);
  }

  addBytes(name: ArrayBuffer, value: ArrayBuffer): void {
    this.add(at(name), name.byteLength, at(value), value.byteLength);
  }

  finish(): ByteBuffer {
    this.block.reset();
    this.block.u32(this.count);
    this.block.write(this.sizes.ptr, this.sizes.length);
    this.block.write(this.texts.ptr, this.texts.length);
    return this.block;
  }

  /** The map becomes what was added. */
  writeTo(map: HeaderMap): bool {
    const block = this.finish();
    return host.proxy_set_header_map_pairs(map, block.ptr, block.length) == 0;
  }
}

export function removeHeader(map: HeaderMap, name: ArrayBuffer): void {
  host.proxy_remove_header_map_value(map, at(name), name.byteLength);
}

export function replaceHeader(map: HeaderMap, name: ArrayBuffer, value: ArrayBuffer): void {
  host.proxy_replace_header_map_value(map, at(name), name.byteLength, at(value), value.byteLength);
}
