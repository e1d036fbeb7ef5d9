/** An event of the record as the text that a receiver gets. One row for each format. */
import { decodeEvent, eventToJson } from '../tap/event.ts';
import { BODIES, type Kind, type TapEvent } from '../tap/schema.ts';
import { SessionContexts, tells } from './context.ts';
import { OCSF_VERSION, ocsfEvent } from './ocsf.ts';

/** A leaf of the log: its index and the event's bytes. */
export interface Leaf {
  readonly index: number;
  readonly bytes: Uint8Array;
}

/** A leaf whose event was deleted after its retention. */
export interface GoneLeaf {
  readonly index: number;
  readonly gone: Kind | 'unknown';
}

/** Events of a session that `tells` means, in order, those before this index: all that its later events may need. None of one that is not known. */
export type Recall = (session: string, before: number) => Promise<readonly Leaf[]>;

/** What is sent of one leaf. */
export interface Message {
  readonly index: number;
  /** `ORIGIN/INDEX`: by it a receiver can tell a repeat. */
  readonly id: string;
  /** When it happened. */
  readonly unixNanos: bigint;
  /** The event's kind; `unreadable` of bytes that this version does not understand. */
  readonly kind: Kind | 'unreadable';
  /** `severity_id` of OCSF: 1 informational, 5 critical. */
  readonly severity: number;
  /** One JSON object in one line. */
  readonly json: string;
}

export const FORMATS = ['ocsf', 'json'] as const;
export type Format = (typeof FORMATS)[number];
export const KINDS = Object.keys(BODIES) as Kind[];
/**
 * Payload is for those who may read the record; that a request was forwarded says no more than its judgement and its end, and what Envoy logged of it is told
 * by those in other words.
 */
const UNASKED: ReadonlySet<Kind> = new Set(['payload_chunk', 'request_forwarded', 'envoy_access_log', 'envoy_tap']);
export const DEFAULT_KINDS: readonly Kind[] = KINDS.filter((kind) => !UNASKED.has(kind));

/** The leaf's name, everywhere and for ever. */
export const eventId = (origin: string, index: number): string => `${origin}/${index}`;

export interface FormatOptions {
  readonly format: Format;
  readonly kinds: readonly Kind[];
  readonly origin: string;
  readonly version: string;
}

/** Makes messages of leaves, which it must see in order: it remembers what the events of a session say of each other. */
export class Formatter {
  readonly #options: FormatOptions;
  readonly #kinds: ReadonlySet<string>;
  readonly #contexts = new SessionContexts();

  constructor(options: FormatOptions) {
    this.#options = options;
    this.#kinds = new Set(options.kinds);
  }

  /** The index from which a new formatter must be shown the record to know what this one knows; undefined when it knows nothing. */
  get floor(): number | undefined {
    return this.#contexts.floor;
  }

  /** Takes note of a leaf that has been sent before. */
  see({ index, bytes }: Leaf): void {
    const event = decoded(bytes);
    if (!event) return;
    this.#contexts.before(index, event);
    this.#contexts.after(event);
  }

  /** What is to be sent of these leaves. Rejects as `recall` does, and can be asked for the same leaves again then. */
  async messages(leaves: readonly Leaf[], recall: Recall): Promise<Message[]> {
    const messages: Message[] = [];
    for (const { index, bytes } of leaves) {
      const event = decoded(bytes);
      if (event && this.#contexts.lacks(event) && (this.#kinds.has(event.body.kind) || tells(event.body.kind)))
        this.#contexts.recall(event.session, recalled(await recall(event.session, index)));
      const message = this.#message(index, event, bytes);
      if (message) messages.push(message);
    }
    return messages;
  }

  /** As `messages`, of one leaf, with what was seen before alone. @returns undefined when it is not to be sent */
  message({ index, bytes }: Leaf): Message | undefined {
    return this.#message(index, decoded(bytes), bytes);
  }

  #message(index: number, event: TapEvent | undefined, bytes: Uint8Array): Message | undefined {
    // What cannot be read is told of all the same: nobody must find a gap and not know why.
    if (!event) return this.#unreadable(index, bytes);
    this.#contexts.before(index, event);
    try {
      return this.#kinds.has(event.body.kind) ? this.#made(index, event) : undefined;
    } catch {
      // A fault of ours in telling one event must not end the telling of all.
      return this.#unreadable(index, bytes);
    } finally {
      this.#contexts.after(event);
    }
  }

  #made(index: number, event: TapEvent): Message | undefined {
    const { format, origin, version } = this.#options;
    const id = eventId(origin, index);
    const ocsf = ocsfEvent(event, this.#contexts.get(event.session), { id, index, origin, version });
    const severity = typeof ocsf?.severity_id === 'number' ? ocsf.severity_id : 1;
    const document = format === 'ocsf' ? ocsf : { id, index, ...eventToJson(event) };
    if (document === undefined) return undefined;
    return { index, id, unixNanos: event.timeUnixNanos, kind: event.body.kind, severity, json: JSON.stringify(document) };
  }

  #unreadable(index: number, bytes: Uint8Array): Message {
    const { format, origin, version } = this.#options;
    const id = eventId(origin, index);
    const raw = Buffer.from(bytes).toString('base64');
    const now = Date.now();
    const document =
      format === 'json'
        ? { id, index, kind: 'unreadable', raw }
        : {
            class_uid: 0,
            class_name: 'Base Event',
            category_uid: 0,
            activity_id: 99,
            activity_name: 'Unreadable',
            type_uid: 99,
            severity_id: 4,
            time: now,
            message: 'an event of the record that this version cannot read',
            raw_data: raw,
            metadata: {
              version: OCSF_VERSION,
              product: { name: 'Sluice', vendor_name: 'Sluice', version },
              uid: id,
              sequence: index,
              log_name: origin,
            },
          };
    return { index, id, unixNanos: BigInt(now) * 1_000_000n, kind: 'unreadable', severity: 4, json: JSON.stringify(document) };
  }
}

const recalled = (leaves: readonly Leaf[]): { readonly index: number; readonly event: TapEvent }[] =>
  leaves.flatMap(({ index, bytes }) => {
    const event = decoded(bytes);
    return event ? [{ index, event }] : [];
  });

const decoded = (bytes: Uint8Array): TapEvent | undefined => {
  try {
    return decodeEvent(bytes);
  } catch {
    return undefined;
  }
};
