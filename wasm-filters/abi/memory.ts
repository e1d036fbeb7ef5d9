// What the host hands over. A hostcall returns at most one block of bytes, and asks the VM for its place first; so one reused block does,
// and a chunk of a body costs no allocation. What lies in it is valid until the next hostcall that returns bytes.

let block: usize = 0;
let capacity: u32 = 0;

/** Called by the host, inside a hostcall only. 0 (out of memory) makes that hostcall fail. */
export function proxy_on_memory_allocate(size: u32): usize {
  if (size > capacity) {
    if (block) heap.free(block);
    capacity = 4096;
    while (capacity < size) capacity <<= 1;
    block = heap.alloc(capacity);
  }
  return block;
}
