// What a decision obliges a network filter to do with the results of one command. Wire form: sluice.session.v1.CommandPlan, read strictly: a filter
// that does not know a field cannot tell what it would have been obliged to do.
import { copyOf } from '../abi/bytes';
import { ProtoReader } from '../abi/protobuf';
import { decodeRecord, Method, Record, Rule } from '../mask/plan';
import { HmacKey } from '../mask/sha256';
import { isUtf8 } from '../mask/utf8';

const MAX_KEEP: u64 = 4096;
const KEY_BYTES: u32 = 32;

export const enum CopyFormat {
  UNSPECIFIED,
  TEXT,
  CSV,
}

/** How the rows of COPY ... TO STDOUT are written, and the rule of each of their columns (null: it passes). */
export class CopyPlan {
  format: CopyFormat = CopyFormat.UNSPECIFIED;
  columns: (Rule | null)[] = [];
  delimiter: u32 = 0;
  quote: u32 = 0;
  escape: u32 = 0;
  nullText: ArrayBuffer = new ArrayBuffer(0);
  /** Whether any column is masked. */
  masks: bool = false;
}

/** Of how many sets of origins a VM lets its sessions share one copy. */
const MOST_SHARED: i32 = 16;

/** Which columns of the target hold something sensitive: much, and the same for nearly all commands. Never changed once it is read. */
export class Origins {
  /** A rule for each kind of column, by what the service said of it. */
  rules: Rule[] = [];
  /** The place in `rules`, by table (upper 32 bits) and attribute. */
  private places: Map<u64, i32> = new Map();
  private wires: ArrayBuffer[] = [];

  constructor(
    /** Names what is in it; empty: nothing does. */
    public id: ArrayBuffer,
  ) {}

  named(ptr: usize, length: u32): bool {
    return <u32>this.id.byteLength == length && memory.compare(changetype<usize>(this.id), ptr, length) == 0;
  }

  /** The place of the column's rule; -1: there is none. */
  find(origin: u64): i32 {
    return this.places.has(origin) ? this.places.get(origin) : -1;
  }

  /** One entry of the plan's. */
  read(ptr: usize, length: u32): bool {
    const wire = new ProtoReader(ptr, length);
    let table: u32 = 0,
      attribute: u32 = 0,
      place = -1;
    while (wire.next()) {
      if (wire.field == 1) table = <u32>wire.value;
      else if (wire.field == 2) attribute = <u32>wire.value;
      else if (wire.field == 3) {
        place = this.place(wire.ptr, wire.length);
        if (place < 0) return false;
      } else return false;
    }
    if (wire.broken || place < 0 || !table) return false;
    this.places.set(((<u64>table) << 32) | attribute, place);
    return true;
  }

  /** Thousands of columns have a handful of rules. -1: it is none. */
  private place(ptr: usize, length: u32): i32 {
    for (let i = 0; i < this.wires.length; i++) {
      const known = this.wires[i];
      if (<u32>known.byteLength == length && memory.compare(changetype<usize>(known), ptr, length) == 0) return i;
    }
    const rule = readRule(ptr, length);
    if (!rule) return -1;
    this.wires.push(copyOf(ptr, length));
    return this.rules.push(rule) - 1;
  }
}

const shared: Origins[] = [];
let nextShared: i32 = 0;
const NONE = new Origins(new ArrayBuffer(0));

/** What a session that has had no plan yet may say that it knows: what others were told last. */
export let latestOrigins: Origins = NONE;

/** The same set in the copy that others have, if any do. */
function share(origins: Origins): Origins {
  if (!origins.id.byteLength) return origins;
  for (let i = 0; i < shared.length; i++)
    if (shared[i].named(changetype<usize>(origins.id), origins.id.byteLength)) return (latestOrigins = shared[i]);
  if (shared.length < MOST_SHARED) shared.push(origins);
  else shared[nextShared] = origins;
  nextShared = (nextShared + 1) % MOST_SHARED;
  return (latestOrigins = origins);
}

export class CommandPlan {
  /** Every rule of the plan, those of `origins` first; the same obligation may stand here more than once. Their `count`s are taken by whoever reports a command. */
  rules: Rule[] = [];
  origins: Origins = NONE;
  private positions: Map<u32, Rule> = new Map();
  private clear: Set<u32> = new Set();
  private unproven: Rule | null = null;
  maskMessages: bool = false;
  copyOut: CopyPlan | null = null;
  /** Null when no payload is recorded. */
  record: Record | null = null;

  /** The rule of a result's column; null: it passes. Table 0: the column is an expression. */
  ruleFor(position: u32, table: u32, attribute: u32): Rule | null {
    const origin = ((<u64>table) << 32) | attribute;
    const place = table ? this.origins.find(origin) : -1;
    if (place >= 0) return this.rules[place];
    if (this.positions.has(position)) return this.positions.get(position);
    // A table without a column is its row as a whole.
    return (table && attribute) || this.clear.has(position) ? null : this.unproven;
  }

  /** False when the message is malformed, has a field that is not known here, or asks for what cannot be done. `known`: what it may name without giving it. */
  read(ptr: usize, length: u32, known: Origins): bool {
    return this.readOrigins(ptr, length, known) && this.readOthers(ptr, length);
  }

  /** Their rules stand first. */
  private readOrigins(ptr: usize, length: u32, known: Origins): bool {
    const wire = new ProtoReader(ptr, length);
    let given: Origins | null = null,
      id: usize = 0,
      idLength: u32 = 0;
    while (wire.next()) {
      if (wire.field == 1) {
        if (!given) given = new Origins(NONE.id);
        if (!given.read(wire.ptr, wire.length)) return false;
      } else if (wire.field == 8) {
        id = wire.ptr;
        idLength = wire.length;
      }
    }
    if (wire.broken) return false;
    if (given) {
      given.id = copyOf(id, idLength);
      this.origins = share(given);
    } else if (idLength) {
      // Without them nobody could tell what is to be masked.
      if (!known.named(id, idLength)) return false;
      this.origins = known;
    }
    const rules = this.origins.rules;
    for (let i = 0; i < rules.length; i++) this.add(uncounted(rules[i]));
    return true;
  }

  private add(rule: Rule): Rule {
    rule.index = this.rules.length;
    this.rules.push(rule);
    return rule;
  }

  private readOthers(ptr: usize, length: u32): bool {
    const wire = new ProtoReader(ptr, length);
    while (wire.next()) {
      switch (wire.field) {
        case 1:
        case 8:
          break;
        case 2: {
          const rule = readRule(wire.ptr, wire.length);
          if (!rule) return false;
          this.unproven = this.add(rule);
          break;
        }
        case 3:
          if (!this.readClear(wire)) return false;
          break;
        case 4:
          this.maskMessages = wire.value != 0;
          break;
        case 5:
          if (!this.readCopy(wire.ptr, wire.length)) return false;
          break;
        case 6:
          if (!this.readPosition(wire.ptr, wire.length)) return false;
          break;
        case 7:
          this.record = wire.delimited ? decodeRecord(wire.ptr, wire.length) : null;
          if (!this.record) return false;
          break;
        default:
          return false;
      }
    }
    return !wire.broken;
  }

  /** `repeated uint32`: packed, or one by one. */
  private readClear(wire: ProtoReader): bool {
    if (!wire.delimited) {
      this.clear.add(<u32>wire.value);
      return true;
    }
    const end = wire.ptr + wire.length;
    for (let p = wire.ptr; p < end; ) {
      let value: u32 = 0,
        shift: u32 = 0,
        byte: u32 = 0;
      do {
        if (p == end || shift > 28) return false;
        byte = load<u8>(p++);
        value |= (byte & 0x7f) << shift;
        shift += 7;
      } while (byte & 0x80);
      this.clear.add(value);
    }
    return true;
  }

  private readPosition(ptr: usize, length: u32): bool {
    const wire = new ProtoReader(ptr, length);
    let position: u32 = 0,
      rule: Rule | null = null;
    while (wire.next()) {
      if (wire.field == 1) position = <u32>wire.value;
      else if (wire.field == 2) rule = readRule(wire.ptr, wire.length);
      else return false;
    }
    if (wire.broken || !rule) return false;
    this.positions.set(position, this.add(rule));
    return true;
  }

  private readCopy(ptr: usize, length: u32): bool {
    const wire = new ProtoReader(ptr, length),
      copy = new CopyPlan();
    let nullGiven = false,
      delimiter: u32 = 0,
      quote: u32 = 0,
      escape: u32 = 0;
    while (wire.next()) {
      const byte: u32 = wire.delimited && wire.length == 1 ? load<u8>(wire.ptr) : 0;
      switch (wire.field) {
        case 1:
          copy.format = <CopyFormat>wire.value;
          break;
        case 2: {
          // An empty id: the column passes, and nothing else of the rule counts.
          if (passes(wire.ptr, wire.length)) {
            copy.columns.push(null);
            break;
          }
          const rule = readRule(wire.ptr, wire.length);
          if (!rule) return false;
          copy.columns.push(this.add(rule));
          copy.masks = true;
          break;
        }
        case 3:
          delimiter = byte;
          if (wire.length && !byte) return false;
          break;
        case 4:
          quote = byte;
          if (wire.length && !byte) return false;
          break;
        case 5:
          escape = byte;
          if (wire.length && !byte) return false;
          break;
        case 6:
          nullGiven = wire.length > 0;
          copy.nullText = copyOf(wire.ptr, wire.length);
          break;
        default:
          return false;
      }
    }
    if (wire.broken || (copy.format != CopyFormat.TEXT && copy.format != CopyFormat.CSV)) return false;
    const csv = copy.format == CopyFormat.CSV;
    copy.delimiter = delimiter ? delimiter : csv ? 0x2c : 0x09;
    copy.quote = quote ? quote : 0x22;
    copy.escape = escape ? escape : copy.quote;
    if (!nullGiven && !csv) copy.nullText = String.UTF8.encode('\\N');
    this.copyOut = copy;
    return true;
  }
}

function readRule(ptr: usize, length: u32): Rule | null {
  const wire = new ProtoReader(ptr, length),
    rule = new Rule();
  let key: usize = 0,
    keyLength: u32 = 0;
  while (wire.next()) {
    switch (wire.field) {
      case 1:
        if (!isUtf8(wire.ptr, wire.length)) return null;
        rule.id = String.UTF8.decodeUnsafe(wire.ptr, wire.length);
        break;
      // Selectors belong to bodies; here the place of the rule in the plan selects.
      case 2:
      case 3:
      case 4:
        break;
      case 5:
        rule.method = <Method>wire.value;
        break;
      case 6:
      case 7:
        if (wire.value > MAX_KEEP) return null;
        if (wire.field == 6) rule.keepFirst = <u32>wire.value;
        else rule.keepLast = <u32>wire.value;
        break;
      case 8:
        key = wire.ptr;
        keyLength = wire.length;
        break;
      default:
        return null;
    }
  }
  if (wire.broken || rule.method < Method.FULL || rule.method > Method.DROP) return null;
  if (rule.method == Method.HASH) {
    if (keyLength != KEY_BYTES) return null;
    rule.key = new HmacKey(key, keyLength);
  }
  return rule;
}

/** The same rule, for another count. */
function uncounted(rule: Rule): Rule {
  const same = new Rule();
  same.id = rule.id;
  same.method = rule.method;
  same.keepFirst = rule.keepFirst;
  same.keepLast = rule.keepLast;
  same.key = rule.key;
  return same;
}

function passes(ptr: usize, length: u32): bool {
  const wire = new ProtoReader(ptr, length);
  while (wire.next()) if (wire.field == 1 && wire.length) return false;
  return !wire.broken;
}

/** Null when the plan cannot be carried out as it stands. */
export function decodeCommandPlan(ptr: usize, length: u32, known: Origins): CommandPlan | null {
  const plan = new CommandPlan();
  return plan.read(ptr, length, known) ? plan : null;
}
