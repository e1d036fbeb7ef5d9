// Entry of build/sluice-postgres.wasm.

import { Connection, Protocol } from '../stream/protocol';
import { serve } from '../stream/serve';
import { PostgresSession } from '../wire/postgres/session';

export * from '../stream/callbacks';

serve('sluice-postgres/0.1', (connection: Connection): Protocol => new PostgresSession(connection));
