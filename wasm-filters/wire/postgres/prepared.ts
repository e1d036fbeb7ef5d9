// What the target keeps for the client between messages: prepared statements and portals. The filter's picture of them is made when a message is sent and
// confirmed by its reply; a reply that comes for one that failed cuts the session, because then the picture and the target disagree.
import { CommandPlan } from '../../stream/plan';
import { Columns } from './columns';

export class Statement {
  /** Its creation failed, or was skipped. */
  failed: bool = false;

  constructor(
    public name: string,
    public text: ArrayBuffer,
    public types: StaticArray<u32>,
    public command: u64,
    public plan: CommandPlan,
    public eachExecution: bool,
    public revision: ArrayBuffer,
    public generation: u64,
    /** The text that was judged is another of the same shape: each run is told with its text. */
    public tells: bool,
  ) {}
}

export class Portal {
  failed: bool = false;
  /** A Describe has been sent since it was bound. */
  described: bool = false;
  /** It runs what is prepared under a name when it is executed, which has not begun. */
  byName: bool = false;
  /** What the target says of its columns; null: not known yet, or none. */
  columns: Columns | null = null;
  /** The RowDescription that says so, where its rows are recorded. */
  description: ArrayBuffer | null = null;

  constructor(
    public name: string,
    public statement: Statement,
    public command: u64,
    public plan: CommandPlan,
    public generation: u64,
    /** Counts Sync and Query messages: later ones may have taken it away. */
    public epoch: u32,
    /** As its statement's, when it was bound. */
    public tells: bool,
  ) {}
}
