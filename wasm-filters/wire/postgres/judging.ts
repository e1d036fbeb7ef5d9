// The judgement of the command at hand: asked of the service, waited for, held, given up, and told to the tap when its command ends. One at a time.
import { ByteBuffer, utf8 } from '../../abi/bytes';
import { addEnded, awaitRequest, Refusal, readVerdict, refusedRequest, Verdict } from '../../stream/door';
import { JudgedText, JudgedTexts, Reuse } from '../../stream/judged';
import { CommandPlan, latestOrigins, Origins } from '../../stream/plan';
import { DoorMethod, GrpcStatus, Standing } from '../../stream/protocol';
import { Admission } from '../../tap/emitter';
import { COMMAND_ROOM, Command, recordRoom } from './command';
import { Ask, frames } from './conversation';
import { Front } from './frame';
import { LogIn } from './log_in';
import { Owed, Reply } from './queue';
import { stale, unavailable, unrecorded } from './refusals';
import { Stage, sqlState } from './report';
import { LONGEST_SHAPED, shapeOf } from './shape';

/** What is not told only takes nothing away from what names may mean. */
const MAX_RENAMED: i32 = 256;
/** How long a command waits for the tap. */
const PATIENCE: u64 = 2_000_000_000;

export const enum Gate {
  OPEN,
  WAIT,
  SHUT,
}

/** The policy that decided last, on any connection of this VM: what another decided is judged anew. */
export let revision = new ArrayBuffer(0);
export const RESERVED_NAME = utf8('_sluice');

const shape = new ByteBuffer(LONGEST_SHAPED);

export function sameBytes(a: ArrayBuffer, b: ArrayBuffer): bool {
  return a.byteLength == b.byteLength && memory.compare(changetype<usize>(a), changetype<usize>(b), a.byteLength) == 0;
}

export abstract class Judging extends LogIn {
  protected verdict: Verdict | null = null;
  protected judgedTexts: JudgedTexts = new JudgedTexts();
  /** What the question at hand, or else the next, says that it knows. */
  protected origins: Origins = latestOrigins;
  /** Of the text that `known` was asked for last: it has a shape, so that a judgement found may be another text's. */
  protected shaped: bool = false;
  protected waitsSince: u64 = 0;
  /** A command of this transaction obliges to withhold texts. */
  protected withholds: bool = false;
  /** Commands that changed names of prepared statements and have ended well, in that order: told with the next question. */
  protected renamed: u64[] = [];

  /** Whether a new command may begin: the tap has room for what it would have to tell, its text included where it is told, and for the payload that `plan` has recorded. */
  protected gate(textLength: u32 = 0, plan: CommandPlan | null = null): Gate {
    if (plan && !this.admitRecord(plan)) return this.patience();
    const admission = this.connection.admit(Command.roomOf(textLength));
    if (admission == Admission.ADMITTED) {
      this.waitsSince = 0;
      return Gate.OPEN;
    }
    if (plan) this.forgoRecord(plan);
    return this.patience();
  }

  /** Keeps room for the payload that the plan has recorded, for a command that begins at once. */
  private admitRecord(plan: CommandPlan): bool {
    const record = plan.record;
    return !record || this.connection.admitPayload(recordRoom(record)) == Admission.ADMITTED;
  }

  /** Whether there is room for the payload of the command that was just judged. Where there is none after a while, it is refused, and so is one whose judgement has not outlived the wait. False: wait. */
  protected recordable(): bool {
    const verdict = this.verdict,
      plan = verdict ? verdict.plan : null;
    if (!verdict || !plan || !plan.record) return true;
    const waited = this.waitsSince != 0;
    if (waited && this.connection.standing(verdict.generation) != Standing.GOOD) {
      this.waitsSince = 0;
      verdict.refuse(stale());
      return true;
    }
    if (!this.admitRecord(plan)) {
      if (this.patience() == Gate.WAIT) return false;
      verdict.refuse(unrecorded());
    }
    this.waitsSince = 0;
    return true;
  }

  /** The command does not begin after all. */
  private forgoRecord(plan: CommandPlan): void {
    const record = plan.record;
    if (record) this.connection.releasePayload(recordRoom(record));
  }

  /** `recordable`, or `gate`, has kept the room. */
  protected begin(command: Command): Command {
    const record = command.plan.record;
    if (record) command.record(record, this.connection, this.session);
    return command;
  }

  /** It runs by the judgement of an earlier one. */
  protected untold(command: Command): Command {
    command.untold = true;
    this.connection.tick(true);
    return command;
  }

  /** Whether some that run are still to be told. */
  protected tellRunning(now: u64): bool {
    let untold = false;
    for (let i = 0; i < this.owed.length; i++) {
      const command = this.owed.at(i).command;
      if (command && command.tellRunning(this.connection, this.session, now)) untold = true;
    }
    return untold;
  }

  protected patience(): Gate {
    const now = this.connection.now();
    if (!this.waitsSince) this.waitsSince = now;
    if (now - this.waitsSince < PATIENCE) {
      this.connection.tick(true);
      return Gate.WAIT;
    }
    this.waitsSince = 0;
    return Gate.SHUT;
  }

  /** Asks for a judgement of the request being written. Its message stays where it is until the answer: `downstream` sees it again. */
  protected judge(): void {
    this.askedAt = this.connection.now();
    this.verdict = null;
    this.ask = Ask.JUDGING;
  }

  /** In the request being written: what has ended since the last one. */
  protected tellRenamed(): void {
    if (!this.renamed.length) return;
    addEnded(this.renamed);
    this.renamed = [];
  }

  /** Gives up what is asked about the message at hand: it will not run. */
  protected drop(): void {
    if (this.ask == Ask.NOTHING) return;
    if (this.ask != Ask.DECIDED) this.connection.giveUp(this.tag);
    this.decided().report(this.connection, this.session, 'cancelled');
  }

  /** The verdict on the message at hand, as a refusal when it cannot be carried out. Its command is begun. */
  protected decided(): Command {
    this.ask = Ask.NOTHING;
    const verdict = this.verdict,
      plan = verdict ? verdict.plan : null;
    const command = new Command(verdict ? verdict.command : 0, plan ? plan : new CommandPlan(), this.askedAt);
    if (verdict && verdict.plan) {
      revision = verdict.revision;
      if (verdict.unsettles) this.judgedTexts.clear();
    } else command.denied = verdict != null && verdict.refusal != null;
    return command;
  }

  protected get verdictRefusal(): Refusal | null {
    const verdict = this.verdict;
    if (!verdict) return unavailable('the gateway cannot decide now');
    return verdict.refusal ? verdict.refusal : verdict.plan ? null : unavailable('the gateway cannot decide now');
  }

  /** The judgement of an earlier command that is good for this text. `shape` holds its shape afterwards, where `shaped`. */
  protected known(text: usize, length: u32): JudgedText | null {
    this.shaped = shapeOf(text, length, shape);
    const known = this.judgedTexts.find(text, length, this.shaped ? shape.ptr : 0, shape.length);
    if (!known || this.expired || !sameBytes(known.revision, revision)) return null;
    return this.connection.standing(known.generation) == Standing.GOOD ? known : null;
  }

  /** Keeps the judgement of this text, just made, for those that it is good for. */
  protected remember(text: usize, length: u32, command: Command): void {
    const verdict = this.verdict;
    if (!verdict || verdict.reuse == Reuse.NONE || verdict.unsettles) return;
    const shaped = verdict.reuse == Reuse.SHAPE && shapeOf(text, length, shape);
    this.judgedTexts.keep(
      shaped ? shape.ptr : text,
      shaped ? shape.length : length,
      shaped,
      command.number,
      command.plan,
      verdict.revision,
      verdict.generation,
    );
  }

  protected get expired(): bool {
    return this.validUntil != 0 && this.connection.now() >= this.validUntil;
  }

  protected judged(status: u32, p: usize, length: u32): void {
    const verdict = status == GrpcStatus.OK ? readVerdict(p, length, this.origins) : null;
    if (verdict && verdict.plan && this.ask == Ask.JUDGING && this.connection.standing(verdict.generation) == Standing.STALE) {
      // A change overtook it.
      this.ask = Ask.NOTHING;
      this.connection.release(COMMAND_ROOM);
      this.connection.resume();
      return;
    }
    this.verdict = verdict;
    const plan = verdict ? verdict.plan : null;
    if (plan && plan.origins.id.byteLength) this.origins = plan.origins;
    if (this.ask == Ask.JUDGING && verdict && verdict.held) {
      this.ask = Ask.HELD;
      if (!this.discarding) {
        // The target's answer to this harmless request is the occasion to tell the client that it waits.
        this.send(frames.reset().open(Front.CLOSE).byte(0x53).text(RESERVED_NAME).close().open(Front.FLUSH).close());
        this.owed.push(new Reply(Owed.NOTICE)).held = verdict;
      }
      if (this.connection.ask(DoorMethod.AWAIT, awaitRequest(this.session, verdict.approval), this.nextTag())) return;
      this.verdict = null;
    }
    this.ask = Ask.DECIDED;
    this.connection.resume();
  }

  /** Nothing was judged, so nobody else knows of it. Nothing waits for the answer. */
  protected tellRefused(refusal: Refusal): void {
    this.connection.ask(DoorMethod.REFUSED, refusedRequest(this.session, sqlState(refusal, Stage.SESSION)), this.nextTag());
  }

  protected finish(head: Reply, outcome: string): void {
    const command = head.command;
    if (!command) return;
    head.command = null;
    if (command.plan.maskMessages) this.withholds = true;
    if (command.renames && !command.code.length && outcome == 'complete' && this.renamed.length < MAX_RENAMED)
      this.renamed.push(command.number);
    command.report(this.connection, this.session, outcome);
  }
}
