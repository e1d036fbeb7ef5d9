import { hash } from 'node:crypto';
import type { SqlRequest } from './request.ts';

/** The request by which a session with a database is asked for. */
export const connectRequest = (database: string): SqlRequest => ({
  protocol: 'postgres',
  database,
  statement: '',
  commands: ['connect'],
  reads: [],
  writes: [],
  columns: [],
  functions: [],
  complete: true,
  incomplete: [],
});

/** Equal for every way in: an approval of access is good for whichever the caller takes. */
export const connectFingerprint = (target: string, identity: string, database: string): string =>
  hash('sha256', JSON.stringify(['connect', target, identity, database]));
