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
