// What the host hands over. A hostcall returns at most one block of bytes, and asks the VM for its place first; so one reused block does,
// and a chunk of a body costs no allocation. What lies in it is valid until the next hostcall that returns bytes.

/** Free bytes in front of what the host hands over, so that what was kept of an earlier chunk can be put there, and both be read as one. */
export const HEADROOM: u32 = 16 << 10;

let block: usize = 0;
let capacity: u32 = 0;

/** Called by the host, inside a hostcall only. 0 (out of memory) makes that hostcall fail. */
export function proxy_on_memory_allocate(size: u32): usize {
  if (size > capacity) {
    if (block) heap.free(block);
    capacity = 4096;
    while (capacity < size) capacity <<= 1;
    block = heap.alloc(HEADROOM + capacity);
  }
  return block + HEADROOM;
}
