import { randomFillSync } from 'node:crypto';

const ALPHABET = '0123456789abcdefghjkmnpqrstvwxyz';
const pool = Buffer.alloc(4096);
let used = pool.length;

/** A new session's id: `ses_`, 9 characters of the time (they sort), 12 random ones (60 bits). */
export function sessionId(now: number): string {
  if (used + 12 > pool.length) {
    randomFillSync(pool);
    used = 0;
  }
  let id = '';
  for (let rest = now, n = 0; n < 9; n++) {
    id = ALPHABET[rest % 32] + id;
    rest = Math.floor(rest / 32);
  }
  for (let n = 0; n < 12; n++) id += ALPHABET[(pool[used++] ?? 0) % 32];
  return `ses_${id}`;
}
