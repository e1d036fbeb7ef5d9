// Which protocol this module is for.
import { Connection, Protocol } from './protocol';

export type ProtocolFactory = (connection: Connection) => Protocol;

export let software = '';
let factory: ProtocolFactory | null = null;

/** Called once, by the entry, at the module's start. `name`: the software's name and version, for the record's hello. */
export function serve(name: string, make: ProtocolFactory): void {
  software = name;
  factory = make;
}

export function protocolFor(connection: Connection): Protocol {
  const make = factory;
  if (!make) unreachable();
  return (make as ProtocolFactory)(connection);
}
