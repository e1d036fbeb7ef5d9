/**
 * What others know of the log, asked before it takes anything: replicas, places that checkpoints are sent to, witnesses. Journal, tiles and index that were rolled back
 * together agree with one another, and only who is elsewhere can tell. A log that is not what they know is not gone on with: that would be two histories under one name.
 */
import { appendFileSync, closeSync, existsSync, fsyncSync, openSync, readFileSync } from 'node:fs';
import type { Config } from '../config/config.ts';
import { LogError } from '../log/error.ts';
import { withListed } from '../log/keys.ts';
import type { OpenedLog, Remembered } from '../log/log.ts';
import { keptCheckpointPath } from '../log/publisher.ts';
import { WITNESSED_PATH } from '../log/replicator.ts';
import { caller } from '../storage/call.ts';
import type { ObjectStore } from '../storage/object_store.ts';
import { openCheckpoint, readCheckpoint, signCheckpoint } from '../tlog/checkpoint.ts';
import { TlogError } from '../tlog/error.ts';
import { EMPTY_ROOT } from '../tlog/hash.ts';
import { openNote, parseVerifierKey, type SignerKey, signNote, type VerifierKey } from '../tlog/note.ts';
import { CHECKPOINT_PATH } from '../tlog/tile.ts';
import { Witness, WitnessError } from '../witness/client.ts';
import { authorizationOf, callerOf, type HttpPlaceConfig, openStore, type StoreConfig } from './stores.ts';

type Environment = Readonly<Record<string, string | undefined>>;

export interface ElsewhereOptions {
  readonly tap: Pick<Config['tap'], 'replicas' | 'witnesses' | 'checkpoints' | 'requireElsewhere'>;
  /** The log's. */
  readonly signers: readonly SignerKey[];
  /** The operator gives up what others know of leaves up to this one; `undefined`: nothing. */
  readonly acceptLoss: number | undefined;
  /** What was given up before: on each line a note that the log's key has signed. */
  readonly acceptedPath: string;
  readonly logger: { info(fields: object, message: string): void; error(fields: object, message: string): void };
  readonly env?: Environment;
  /** Who has not answered by then is away. Milliseconds, default 20,000. */
  readonly timeoutMs?: number;
}

/** Somebody knows what the log has not. */
interface Loss {
  /** Who, for people. */
  readonly who: string;
  /** How long the log is that they know, and its root in base64 where they tell it. */
  readonly size: number;
  readonly root: string;
}

type Answer =
  /** Up to `size` the log is what they know; 0: they know nothing of it. */
  | { readonly kind: 'agrees'; readonly size: number }
  | { readonly kind: 'differs'; readonly loss: Loss; readonly error: LogError }
  | { readonly kind: 'away'; readonly reason: string };

interface Other {
  readonly who: string;
  ask(log: OpenedLog): Promise<Answer>;
}

const PLACE = 'the place of checkpoints';

/** Logged of each who is away, when a start goes on all the same. */
export const NOT_ASKED = 'WHETHER THE LOG IS WHOLE COULD NOT BE ASKED THERE';
/** Ahead of who is away, when a start does not go on. */
export const MUST_BE_ASKED = 'tap.require_elsewhere: whether the record is whole could not be asked of';

export class Elsewhere {
  readonly #options: ElsewhereOptions;
  /** What was given up at this start, in words: for the record. */
  readonly losses: string[] = [];

  constructor(options: ElsewhereOptions) {
    this.#options = options;
  }

  /** Rejects with a `LogError` (`rolled_back`, `forked`) when the log is not what others know of it, or when those who must be asked cannot be (`unconfirmed`). */
  async confirm(log: OpenedLog): Promise<void> {
    const { logger } = this.#options;
    const answers = await Promise.all(this.#others().map(async (other) => ({ who: other.who, answer: await this.#ask(other, log) })));
    const refused: { readonly loss: Loss; readonly error: LogError }[] = [];
    for (const { who, answer } of answers) {
      if (answer.kind === 'agrees' && answer.size === 0) logger.info({ who }, 'nothing of the log is known there');
      else if (answer.kind === 'agrees') logger.info({ who, size: answer.size }, 'the log is what is known of it elsewhere');
      else if (answer.kind === 'away') logger.error({ who, reason: answer.reason }, NOT_ASKED);
      else if (!this.#isGivenUp(answer.loss, log)) refused.push(answer);
    }
    if (refused.length > 0) throw refusal(log, refused);
    if (this.#options.tap.requireElsewhere) demandAnswers(log, answers);
  }

  #others(): Other[] {
    const { tap, signers, env = process.env } = this.#options;
    const of = (kind: string, config: StoreConfig): Other => storeOf(`${kind} ${config.name}`, config, signers, env);
    return [
      ...tap.replicas.map((config) => of('the replica', config)),
      ...tap.checkpoints.to.flatMap((config) => {
        if (config.type !== 'http') return [of(PLACE, config)];
        return config.read === undefined ? [] : [httpOf(`${PLACE} ${config.name}`, config, new URL(config.read), signers, env)];
      }),
      ...tap.witnesses.of.map(({ name, url, keys }) => witnessOf({ name, url: new URL(url), keys: keys.map(parseVerifierKey) }, signers)),
    ];
  }

  async #ask(other: Other, log: OpenedLog): Promise<Answer> {
    const { timeoutMs = 20_000 } = this.#options;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<Answer>((resolve) => {
      timer = setTimeout(resolve, timeoutMs, { kind: 'away', reason: `no answer within ${timeoutMs / 1000} s` });
    });
    try {
      return await Promise.race([other.ask(log), late]);
    } catch (error) {
      return { kind: 'away', reason: (error as Error).message };
    } finally {
      clearTimeout(timer);
    }
  }

  #isGivenUp(loss: Loss, log: OpenedLog): boolean {
    const { acceptLoss, acceptedPath, signers, logger } = this.#options;
    const accept = (origin: string, of: Loss): void =>
      appendDurably(acceptedPath, `${JSON.stringify(signNote(acceptance(origin, of), signers))}\n`);
    const before = signersOf(acceptance(log.origin, loss), acceptedPath, signers);
    if (before > 0) {
      // So that it outlasts the older of them, while keys change.
      if (before < signers.length) accept(log.origin, loss);
      logger.error({ who: loss.who, size: loss.size }, 'what is known of the log there was given up before, and is not in it');
      return true;
    }
    if (acceptLoss === undefined || loss.size > acceptLoss) return false;
    accept(log.origin, loss);
    const text = `${loss.who} knows ${told(loss)}, which this log of ${log.published?.size ?? 0} does not go on from: given up at the start by --accept-loss ${acceptLoss}`;
    this.losses.push(text);
    logger.error({ who: loss.who, size: loss.size }, 'A LOSS IS ACCEPTED: the log goes on without what is known of it there');
    return true;
  }
}

/** What the log's key signs when a loss is given up: no checkpoint. Whoever can write to the state directory, and has no key, gives up nothing. */
const acceptance = (origin: string, loss: Loss): string => `${origin}\naccepted loss\n${JSON.stringify(loss)}\n`;

/** How many of these have signed this text, in a file with a signed note on each line, as JSON; a line that is none says nothing. */
const signersOf = (text: string, path: string, signers: readonly SignerKey[]): number => {
  if (!existsSync(path)) return 0;
  const keys = signers.map(({ verifier }) => verifier);
  const counts = readFileSync(path, 'utf8')
    .split('\n')
    .map((line) => {
      try {
        const note = openNote(String(JSON.parse(line)), keys);
        return note.text === text ? note.verified.length : 0;
      } catch {
        return 0;
      }
    });
  return Math.max(...counts);
};

const told = ({ size, root }: Loss): string => `${size} leaves${root === '' ? '' : ` (root ${root})`}`;

const refusal = ({ published }: OpenedLog, refused: readonly { readonly loss: Loss; readonly error: LogError }[]): LogError => {
  const code = refused.some(({ error }) => error.code === 'rolled_back') ? 'rolled_back' : 'forked';
  const most = Math.max(...refused.map(({ loss }) => loss.size));
  return new LogError(
    code,
    [
      `THE RECORD IS NOT WHAT IS KNOWN OF IT ELSEWHERE. Here it has ${published?.size ?? 0} leaves, and does not go on from what these know:`,
      ...refused.map(({ loss }) => `  ${loss.who}: ${told(loss)}`),
      'Nothing was added to it. The state directory is of an older day, is another one, or was tampered with. Keep it, and then do one of these (docs/operations.md):',
      '  restore the record from a replica: sluice log restore',
      `  or, where what is missing is lost for good, give it up: start once with --accept-loss ${most}; the record will say so`,
    ].join('\n'),
  );
};

const demandAnswers = ({ published }: OpenedLog, answers: readonly { readonly who: string; readonly answer: Answer }[]): void => {
  const away = answers.flatMap(({ who, answer }) => (answer.kind === 'away' ? [`${who} (${answer.reason})`] : []));
  if (away.length > 0) throw new LogError('unconfirmed', `${MUST_BE_ASKED} ${away.join(', ')}`);
  const nobody = answers.every(({ answer }) => answer.kind !== 'agrees' || answer.size === 0);
  if (nobody && (published?.size ?? 0) > 0)
    throw new LogError(
      'unconfirmed',
      'tap.require_elsewhere: nobody elsewhere knows this log; where they are new to it, start once without',
    );
};

/** One that was copied before a change of keys has the signature of an old one alone. */
const everSigned = async (log: OpenedLog, signers: readonly SignerKey[]): Promise<VerifierKey[]> =>
  withListed(
    signers.map(({ verifier }) => verifier),
    await log.listedKeys(),
  );

/** The largest checkpoint that a store has of the log, and any that it has beyond its end. */
const storeOf = (kind: string, config: StoreConfig, signers: readonly SignerKey[], env: Environment): Other => ({
  who: kind,
  ask: async (log) => {
    const store = openStore(config, env);
    try {
      return await compared(`${kind} (${store.url})`, log, await knownTo(store, log, await everSigned(log, signers)));
    } finally {
      await store.close();
    }
  },
});

/** More than any checkpoint has, with the signatures of all its witnesses. */
const MAX_NOTE_BYTES = 64 << 10;

/** The newest checkpoint that a place gives back. What it says is as strange as what any stranger says. */
const httpOf = (who: string, config: HttpPlaceConfig, url: URL, signers: readonly SignerKey[], env: Environment): Other => ({
  who,
  ask: async (log) => {
    const { tls, timeoutMs } = config;
    // Its query may be what lets one in.
    const where = `${url.origin}${url.pathname}`;
    const call = callerOf({ tls, timeoutMs: Math.min(timeoutMs, 10_000) }, { attempts: 1, maxAnswerBytes: MAX_NOTE_BYTES });
    try {
      const headers = { accept: 'text/plain', 'cache-control': 'no-cache', ...authorizationOf(config, env)() };
      const { status, body } = await call(() => ({ method: 'GET', url, headers }));
      if (status === 404) return { kind: 'agrees', size: 0 };
      if (status !== 200) return { kind: 'away', reason: `${where} gave no checkpoint back: status ${status}` };
      const checkpoints = [openCheckpoint(body, log.origin, await everSigned(log, signers))];
      return await compared(`${who} (${url.origin})`, log, { checkpoints, unread: undefined });
    } catch (error) {
      if (!(error instanceof TlogError)) throw error;
      return { kind: 'away', reason: `what ${where} gave back is no checkpoint of this log: ${error.message}` };
    } finally {
      call.close();
    }
  },
});

/** What a store says of the log; what is no checkpoint of this log says nothing, and hides nothing of the rest. */
interface Known {
  readonly checkpoints: readonly Remembered[];
  /** Why one could not be read. */
  readonly unread: TlogError | undefined;
}

const knownTo = async (store: ObjectStore, log: OpenedLog, keys: readonly VerifierKey[]): Promise<Known> => {
  const own = log.published?.size ?? 0;
  const checkpoints: Remembered[] = [];
  let unread: TlogError | undefined;
  /** @returns whether it is one */
  const add = async (key: string): Promise<boolean> => {
    const note = await store.get(key);
    if (note === undefined) return false;
    try {
      checkpoints.push(openCheckpoint(note, log.origin, keys));
      return true;
    } catch (error) {
      if (!(error instanceof TlogError)) throw error;
      unread ??= error;
      return false;
    }
  };
  for (const key of [CHECKPOINT_PATH, WITNESSED_PATH]) await add(key);
  // The newest that can be read: whoever may write there can put others behind it.
  const addNewest = async (after: string): Promise<boolean> => {
    const kept: string[] = [];
    for await (const key of store.list('checkpoints/', after)) if (/\/\d{16}$/.test(key)) kept.push(key);
    for (const key of kept.reverse()) if (await add(key)) return true;
    return false;
  };
  let found = await addNewest(keptCheckpointPath(own));
  // Of those that are no longer than the log the newest: a look further and further back, so that years of them are not listed.
  for (let back = 1; !found && back / 16 < own; back *= 16) found = await addNewest(keptCheckpointPath(Math.max(0, own - back)));
  return { checkpoints, unread };
};

const compared = async (who: string, log: OpenedLog, { checkpoints, unread }: Known): Promise<Answer> => {
  let size = 0;
  for (const each of [...checkpoints].sort((a, b) => b.size - a.size)) {
    try {
      await log.goesOnFrom(each);
    } catch (error) {
      if (!(error instanceof LogError)) throw error;
      return { kind: 'differs', loss: { who, size: each.size, root: each.root.toString('base64') }, error };
    }
    size = Math.max(size, each.size);
  }
  // Somebody else has written there: that what can be read agrees is no answer.
  if (unread !== undefined) throw unread;
  return { kind: 'agrees', size };
};

/** A witness is shown the newest checkpoint: it cosigns what goes on from the last one that it saw, and nothing else. */
const witnessOf = (settings: ConstructorParameters<typeof Witness>[0], signers: readonly SignerKey[]): Other => {
  const who = `the witness ${settings.name}`;
  return {
    who,
    ask: async (log) => {
      const call = caller({ attempts: 1, timeoutMs: 10_000 });
      const witness = new Witness(settings, call, (old, size) => log.reader.proveConsistency(old, size));
      const note = log.published?.note ?? signCheckpoint({ origin: log.origin, size: 0, root: EMPTY_ROOT }, signers);
      try {
        const checkpoint = readCheckpoint(note);
        await witness.cosign(note, checkpoint);
        return { kind: 'agrees', size: checkpoint.size };
      } catch (error) {
        if (!(error instanceof WitnessError)) throw error;
        if (error.code === 'unknown_log') return { kind: 'agrees', size: 0 };
        if (error.code === 'unavailable') return { kind: 'away', reason: error.message };
        const loss = { who, size: error.size ?? witness.size, root: '' };
        return { kind: 'differs', loss, error: new LogError(error.code === 'ahead' ? 'rolled_back' : 'forked', error.message, error) };
      } finally {
        call.close();
      }
    },
  };
};

const appendDurably = (path: string, text: string): void => {
  const fd = openSync(path, 'a', 0o600);
  try {
    appendFileSync(fd, text);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
};
