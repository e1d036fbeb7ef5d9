/** What the session door needs of the rest of the service, beside what every door needs. */
import type { Prepared } from '../analysis/analyse.ts';
import type { NameChange } from '../analysis/utility.ts';
import type { Ports } from '../decision/ports.ts';
import type { Identity, Run, SqlRequest, TargetInfo } from '../decision/request.ts';
import type { CommandPlanner, CopyFacts, SensitiveOrigins } from '../mask/command_plan.ts';
import type { Passage } from '../passages.ts';
import type { Generations } from './generations.ts';

export interface SessionPorts extends Ports {
  /** A new session's id. */
  newSession(): string;
  /** Who a token proves; never rejects. */
  identify(token: string): Proved | NotProved | Promise<Proved | NotProved>;
  /** Takes the session that a CONNECT was let through for: once, on the target that it was for. */
  passage(session: string, target: string): Passage | undefined;
  database(target: string): Database | undefined;
  readonly plan: CommandPlanner;
  /** Records a session's end behind what its emitter has told of it, below `nextSequence`; after a while without what is missing. 0: that is not known. */
  end(end: {
    readonly session: string;
    readonly target: string;
    readonly outcome: string;
    readonly emitter: string;
    readonly nextSequence: number;
  }): Promise<void>;
  /** Whether the emitter of a session may still tell how its commands end. */
  serves(emitter: string): boolean;
  /** Counts the changes of what judgements rest on, and tells the filters. */
  readonly generations: Generations;
  /** Masks a line for people. */
  maskText(text: string): string;
  /** Told of what fails here and is nobody's fault but ours. */
  fault(error: unknown): void;
}

export interface Proved {
  readonly ok: true;
  readonly identity: Identity;
  readonly run: Run;
  /** Unix milliseconds at which the proof stops to count; absent: never. */
  readonly expiresAt?: number;
}

export interface NotProved {
  readonly ok: false;
  readonly code: string;
  /** One sentence for the client. */
  readonly description: string;
  readonly unavailable: boolean;
}

/** A target that speaks SQL. */
export interface Database {
  readonly info: TargetInfo;
  /** The database that sessions are let into, whatever they ask for. */
  readonly name: string;
  /**
   * @param credential as the policy chose it; empty for the target's default
   * @throws {Error} when it cannot be had; the message holds no secret
   */
  logIn(credential: string): { readonly credential: string; readonly username: string; readonly password: string };
  /**
   * What a text does, under the catalog as it is known.
   * @param alsoSensitive patterns of columns that count as sensitive besides the target's own
   * @param prepared by which texts the names that it executes may have been prepared
   * @throws {AnalysisFailure} when that cannot be told
   */
  analyse(text: string, alsoSensitive?: readonly string[], prepared?: Prepared): Promise<Analysed>;
  /** Reads the catalog anew. Rejects when it cannot be had; nothing is analysed before it can. */
  refresh(): Promise<void>;
  /** Reads the catalog when it was needed before and is due to be read again. Rejects when it cannot be had. */
  keepCurrent(): Promise<void>;
  /** Whether every column that a pattern means is one of the target's own sensitive ones. */
  covers(pattern: string): Promise<boolean>;
}

export interface Analysed {
  readonly analysis: Analysis;
  readonly columns: SensitiveOrigins;
  /** What names of prepared statements were taken to mean. */
  readonly prepared?: Prepared;
}

/** What the analysis of `analysis/` answers. */
export interface Analysis {
  readonly request: Omit<SqlRequest, 'protocol' | 'database' | 'statement' | 'parameters'>;
  readonly result: readonly ('origin' | 'clear' | 'sensitive')[] | undefined;
  readonly touchesSensitive: boolean;
  /** Moves sensitive values into columns that are not, so that no origin of a column of its results proves anything. */
  readonly copies?: boolean;
  /** Which columns its results have depends on the columns that a relation has: it has a `*`. */
  readonly expands?: boolean;
  /** What it does to the names of prepared statements, in order. */
  readonly nameChanges?: readonly NameChange[];
  /** Names of prepared statements that it runs, and the texts that these may mean, for people. */
  readonly executes?: readonly string[];
  readonly runs?: readonly string[];
  /** The transaction that ends with it: the session's own, or one that was prepared. A savepoint's end is none. */
  readonly ends?: 'own' | 'prepared' | undefined;
  readonly copyOut: CopyFacts | undefined;
  /** The text with its literals masked where they meet a sensitive column, or might. */
  readonly maskedText: string;
  readonly fingerprint: string;
  readonly readOnly: boolean;
  readonly statements: number;
}

/** `unavailable`: nothing is wrong with the text. */
export class AnalysisFailure extends Error {
  readonly code: 'syntax' | 'too_large' | 'timeout' | 'unsupported' | 'unavailable';

  constructor(code: AnalysisFailure['code'], message: string) {
    super(message);
    this.name = 'AnalysisFailure';
    this.code = code;
  }
}
