/**
 * The session door: opens sessions with databases, logs them in, judges their commands. The table of sessions is here alone: a filter keeps one connection,
 * and a cancellation comes by another.
 */
import { isUtf8 } from 'node:buffer';
import { hash } from 'node:crypto';
import { connectFingerprint, connectRequest } from '../decision/connect.ts';
import { decide } from '../decision/decide.ts';
import type { Allow, Hold } from '../decision/decision.ts';
import { judgedBody, UNCLEAR } from '../decision/events.ts';
import type { Allowed, Caller, Verdict } from '../decision/ports.ts';
import { type Identity, type Run, requestOf, type SqlRequest } from '../decision/request.ts';
import type { CommandPlan } from '../mask/command_plan.ts';
import { LogInError } from './login/error.ts';
import { type LogIn, postgresLogIn } from './login/postgres.ts';
import type {
  AwaitRequest,
  CancelRequest,
  CloseRequest,
  JudgeRequest,
  JudgeResponse,
  LogInRequest,
  OnGone,
  OpenRequest,
  OpenResponse,
  ReadyRequest,
  Refusal,
  RefusedRequest,
  SessionDoor,
} from './messages.ts';
import { REFUSAL, REUSE, type Reuse } from './messages.ts';
import { parameterTexts } from './parameters.ts';
import { type Analysed, type Analysis, AnalysisFailure, type Database, type Proved, type SessionPorts } from './ports.ts';
import { PreparedNames } from './prepared_names.ts';
import { greeting, StartupError, startupParameters } from './startup.ts';
import { refusalOf, unavailable, unsupported } from './words.ts';

export interface SessionDoorOptions {
  /** Default 20,000. */
  readonly maxSessions?: number;
  /** A session whose emitter is not known is given this long, milliseconds. Default 30,000. */
  readonly graceMs?: number;
  /** How often sessions are looked for whose emitter has gone, milliseconds. Default 5,000. */
  readonly sweepEveryMs?: number;
}

export interface Sessions extends SessionDoor {
  /** Open ones. */
  readonly size: number;
  /** Gives up every hold, and forgets the sessions. */
  stop(): void;
}

/** As the filter collects it; a longer one it refuses itself. */
const MAX_TEXT_BYTES = 1024 * 1024;
const MAX_TOKEN_BYTES = 16 * 1024;
const MAX_SUMMARY = 200;
const MASKED = '*****';

/** What a decision may rest on and still be good for each execution of the same text in the same session. */
const SAME_FOR_EACH_EXECUTION = new Set(['identity', 'run', 'target', 'session', 'request', 'analysis', 'statement']);
/** The same of texts that differ, but are analysed alike. */
const SAME_FOR_EACH_TEXT = new Set(['identity', 'run', 'target', 'session', 'analysis']);
/** When the catalog is read again because of them, milliseconds; beside that with the session's next command, and with its end. */
const FOLLOWED_AFTER_MS = [250, 1_000, 5_000];
/** After these the catalog may be another. */
const CHANGING = new Set(['ddl', 'privilege', 'call', 'do', 'maintenance', 'other']);

interface HeldCommand {
  /** Never rejects. */
  readonly answer: Promise<JudgeResponse>;
  /** Nobody waits for it any more. */
  readonly giveUp: () => void;
}

interface Session {
  readonly id: string;
  readonly target: string;
  readonly database: Database;
  readonly emitter: string;
  readonly identity: Identity;
  readonly run: Run;
  readonly downstreamAddress: string;
  readonly credential: string;
  readonly openedAt: number;
  /** Unix milliseconds: no command begins after it. */
  readonly expiresAt: number;
  readonly logIn: LogIn;
  state: 'logging-in' | 'ready' | 'ended';
  cancelKey: string;
  commands: number;
  /** A command that turns out to be held after it was cancelled is given up at once. */
  cancellations: number;
  /** By approval. */
  readonly held: Map<string, HeldCommand>;
  /** Judgements begun, held ones too: what they record stands before the session's end. None rejects. */
  readonly underWay: Set<Promise<unknown>>;
  /** It has run what may have changed the catalog. */
  changes: 'none' | 'one' | 'until-commit';
  readonly names: PreparedNames;
}

export function createSessions(ports: SessionPorts, options: SessionDoorOptions = {}): Sessions {
  const { maxSessions = 20_000, graceMs = 30_000, sweepEveryMs = 5_000 } = options;
  const sessions = new Map<string, Session>();
  const byCancelKey = new Map<string, Session>();
  let opening = 0;
  const followed = new Set<Database>();

  const forget = (session: Session): void => {
    session.state = 'ended';
    sessions.delete(session.id);
    if (byCancelKey.get(session.cancelKey) === session) byCancelKey.delete(session.cancelKey);
    for (const { giveUp } of session.held.values()) giveUp();
  };
  const recordEnd = ({ id, target }: { readonly id: string; readonly target: string }, outcome: string): Promise<void> =>
    ports.record([{ session: id, target, body: { kind: 'session_closed', outcome } }]).catch((error: unknown) => ports.fault(error));
  const fail = async (session: Session, refusal: Refusal): Promise<{ readonly refusal: Refusal }> => {
    forget(session);
    await recordEnd(session, 'failed');
    return { refusal };
  };

  const sweep = setInterval(() => {
    const now = Date.now();
    for (const session of [...sessions.values()]) {
      // Their ends stand in the record already, by what the sink knows of the emitter.
      if (now - session.openedAt > graceMs && !ports.serves(session.emitter)) forget(session);
      else if (now >= session.expiresAt) for (const { giveUp } of session.held.values()) giveUp();
    }
  }, sweepEveryMs).unref();

  async function open(request: OpenRequest, onGone: OnGone): Promise<OpenResponse> {
    const database = ports.database(request.target);
    if (!database) return { session: '', refusal: unsupported('there is no such database behind this gateway') };
    if (sessions.size + opening >= maxSessions) return { session: '', refusal: unavailable('too many sessions are open') };
    opening += 1;
    try {
      return await opened(request, database, onGone);
    } finally {
      opening -= 1;
    }
  }

  async function opened(request: OpenRequest, database: Database, onGone: OnGone): Promise<OpenResponse> {
    const departure = new Departure(onGone);
    const admission = await admit(request, database, departure.onGone);
    if ('refusal' in admission) return admission;
    const { id, identity, run, credential, parameters, expiresAt = Number.POSITIVE_INFINITY } = admission;
    const refuse = async (refusal: Refusal, outcome: string): Promise<OpenResponse> => {
      await recordEnd({ id, target: request.target }, outcome);
      return { session: id, refusal };
    };
    if (departure.gone) return refuse({ kind: REFUSAL.cancelled, message: 'the client has gone' }, 'cancelled');
    try {
      const login = database.logIn(credential);
      sessions.set(id, {
        id,
        target: request.target,
        database,
        emitter: request.emitter,
        identity,
        run,
        downstreamAddress: request.downstreamAddress,
        credential: login.credential,
        openedAt: Date.now(),
        expiresAt,
        logIn: postgresLogIn(login),
        state: 'logging-in',
        cancelKey: '',
        commands: 0,
        cancellations: 0,
        held: new Map(),
        underWay: new Set(),
        changes: 'none',
        names: new PreparedNames(),
      });
      const validMs = Number.isFinite(expiresAt) ? Math.max(1, expiresAt - Date.now()) : 0;
      return { session: id, greeting: greeting(login.username, database.name, parameters), validMs };
    } catch (error) {
      return refuse(unavailable(`the gateway cannot log in to the target: ${reasonOf(error)}`), 'failed');
    }
  }

  type Admission =
    | { readonly session: string; readonly refusal: Refusal }
    | {
        readonly id: string;
        readonly identity: Identity;
        readonly run: Run;
        readonly credential: string;
        /** For the target. */
        readonly parameters: ReadonlyMap<string, string>;
        readonly expiresAt?: number | undefined;
      };

  /** Who it is, and whether they may come in: judged here, or before by the door of HTTP. */
  async function admit(request: OpenRequest, database: Database, onGone: OnGone): Promise<Admission> {
    if (request.proof === 'passage') {
      const passage = ports.passage(request.passage, request.target);
      if (!passage) return { session: '', refusal: unavailable('the tunnel that this connection came by is not known', 'Connect again.') };
      const asked = askedFor(request, database);
      if ('parameters' in asked) return { id: request.passage, ...passage, ...asked };
      await recordEnd({ id: request.passage, target: request.target }, 'failed');
      return { session: request.passage, ...asked };
    }
    const since = performance.now();
    const caller = await identified(request.token ?? Buffer.alloc(0));
    const identitySeconds = (performance.now() - since) / 1000;
    ports.observe.stage('identity', identitySeconds);
    if (!caller.ok) {
      // A caller whom nobody knows is counted, not recorded: it could fill the disk.
      ports.observe.decision('unidentified', request.target, caller.code);
      return { session: '', refusal: caller.refusal };
    }
    const asked = askedFor(request, database);
    if ('refusal' in asked) {
      ports.observe.decision('refused', request.target, UNCLEAR.rule);
      return { session: '', ...asked };
    }
    const id = ports.newSession();
    const { identity, run } = caller;
    const verdict = await decide(ports, requestOf({ identity, run, target: database.info, session: id }, connectRequest(database.name)), {
      summary: `connect to ${database.name}`,
      fingerprint: () => connectFingerprint(request.target, identity.id, database.name),
      downstreamAddress: request.downstreamAddress,
      identityMicros: Math.round(identitySeconds * 1e6),
      waitMs: request.waitMs > 0 ? request.waitMs : undefined,
      onGone,
    });
    if (verdict.kind !== 'allow') return { session: id, refusal: refusalOf(verdict, id, 'this session') };
    return { id, identity, run, credential: verdict.credential, ...asked, expiresAt: caller.expiresAt };
  }

  async function identified(token: Buffer): Promise<Proved | { readonly ok: false; readonly code: string; readonly refusal: Refusal }> {
    const refused = (code: string, message: string) =>
      ({ ok: false, code, refusal: { kind: REFUSAL.unauthenticated, message, hint: TOKEN_HINT } }) as const;
    if (token.length === 0) return refused('token_missing', 'a token is needed as the password');
    if (token.length > MAX_TOKEN_BYTES || !/^[\x21-\x7e]+$/.test(token.toString('latin1')))
      return refused('token_malformed', 'the password is no token');
    const caller = await ports.identify(token.toString('latin1'));
    if (caller.ok) return caller;
    if (caller.unavailable) return { ok: false, code: caller.code, refusal: unavailable(caller.description) };
    return refused(caller.code, caller.description);
  }

  async function logIn({ session: id, message }: LogInRequest) {
    const session = sessions.get(id);
    if (session?.state !== 'logging-in') return { refusal: UNKNOWN_SESSION };
    try {
      return { reply: await session.logIn.step(message) };
    } catch (error) {
      if (!(error instanceof LogInError)) throw error;
      return fail(session, unavailable(error.message, 'Whoever runs the gateway can look at its credential for this target.'));
    }
  }

  async function ready({ session: id, cancelKey }: ReadyRequest) {
    const session = sessions.get(id);
    if (session?.state !== 'logging-in') return { refusal: UNKNOWN_SESSION };
    if (!session.logIn.complete) return fail(session, unavailable('the target ended the log-in before it had proved itself', ''));
    try {
      await ports.record([{ session: id, target: session.target, body: { kind: 'request_forwarded', emitter: session.emitter } }]);
    } catch (error) {
      return fail(session, unavailable(`the session could not be recorded: ${reasonOf(error)}`));
    }
    if (sessions.get(id) !== session) return { refusal: UNKNOWN_SESSION };
    session.state = 'ready';
    if (cancelKey.length > 0) {
      session.cancelKey = keyOf(session.target, cancelKey);
      byCancelKey.set(session.cancelKey, session);
    }
    return {};
  }

  async function judge(request: JudgeRequest, onGone: OnGone): Promise<JudgeResponse> {
    const session = sessions.get(request.session);
    if (session?.state !== 'ready') return { command: 0, refused: UNKNOWN_SESSION };
    if (Date.now() >= session.expiresAt) return unjudged(session, 'token_expired: the token of the session has expired', EXPIRED);
    if (request.text.length > MAX_TEXT_BYTES)
      return unjudged(
        session,
        'too_large: the statement is too long',
        unsupported(`a statement takes at most ${MAX_TEXT_BYTES} bytes`, '', '54000'),
      );
    if (!isUtf8(request.text))
      return unjudged(session, 'encoding: the statement is not UTF-8', unsupported('the statement is not UTF-8', '', '22021'));
    const parameters = parameterTexts(request.parameters, request.parameterTypes);
    if (!parameters) return unjudged(session, 'encoding: a parameter is not UTF-8', unsupported('a parameter is not UTF-8', '', '22021'));
    const text = request.text.toString();
    // Before anything is looked at: what changes from here on is of a later one.
    const generation = ports.generations.current;
    const { cancellations } = session;
    // What it has changed is committed, though no command said so.
    if (request.idle && session.changes === 'until-commit') session.changes = 'one';
    session.names.ended(request.ended);
    let analysed: Analysed;
    try {
      analysed = await analyse(session, text);
    } catch (error) {
      return unclear(session, error);
    }
    if (sessions.get(session.id) !== session) return { command: 0, refused: UNKNOWN_SESSION };
    const given = request.parameters.length > 0 ? { parameters } : {};
    const { knownOrigins } = request;
    const prepares = request.prepare ? { name: request.name, types: request.parameterTypes } : undefined;
    return judged(session, { text, analysed, given, prepares, knownOrigins, generation, cancellations }, onGone);
  }

  interface Command {
    readonly text: string;
    readonly analysed: Analysed;
    readonly given: { readonly parameters?: readonly (string | null)[] };
    /** It does not run yet: it is prepared under a name, or none. */
    readonly prepares: { readonly name: string; readonly types: readonly number[] } | undefined;
    readonly knownOrigins: Buffer;
    /** In which the judgement began. */
    readonly generation: number;
    /** The session's, when the judgement began. */
    readonly cancellations: number;
  }

  function judged(session: Session, command: Command, onGone: OnGone): Promise<JudgeResponse> {
    const { text, analysed, given, prepares } = command;
    const { analysis } = analysed;
    const typed = { protocol: 'postgres', database: session.database.name, statement: text, ...analysis.request, ...given } as const;
    const each = ({ effect, dependsOn }: { readonly effect: string; readonly dependsOn: readonly string[] }): boolean =>
      !analysis.readOnly || effect === 'hold' || !restsOn(dependsOn, SAME_FOR_EACH_EXECUTION);
    let number = 0;
    let held = '';
    const departure = new Departure(onGone);
    return new Promise<JudgeResponse>((resolve) => {
      const caller: Caller = {
        summary: ports.maskText(summaryOf([analysis.maskedText, ...(analysis.runs ?? [])].join(' ← '))),
        fingerprint: () =>
          hash(
            'sha256',
            JSON.stringify([
              ...[session.target, session.identity.id, session.database.name, text, given.parameters ?? []],
              ...(analysed.prepared ? [[...analysed.prepared]] : []),
            ]),
          ),
        downstreamAddress: session.downstreamAddress,
        identityMicros: 0,
        waitMs: undefined,
        onGone: departure.onGone,
        recorded: recordedOf(typed, analysed),
        command: {
          fingerprint: analysis.fingerprint,
          number: () => (number = session.commands += 1),
          later: (decision: Allow | Hold) => prepares !== undefined && each(decision),
        },
        onHeld: ({ approval, reason }) => {
          held = approval;
          session.held.set(approval, { answer, giveUp: () => departure.leave() });
          resolve({
            command: number,
            held: {
              approval,
              message: `this statement waits for an approval (${approval}): ${reason}`,
              hint: `An approver answers with: sluice approve ${approval}. Cancel the statement to give it up.`,
            },
          });
          // It was ended, or this was cancelled, while it was decided.
          if (session.state === 'ended' || session.cancellations !== command.cancellations) departure.leave();
        },
      };
      const answer = decide(
        ports,
        requestOf({ identity: session.identity, run: session.run, target: session.database.info, session: session.id }, typed),
        caller,
      )
        .then(async (verdict) => {
          const of = held !== '' && verdict.kind === 'allow' ? await renewed(session, command) : command;
          return answerTo(session, of, { number: () => number, verdict, each });
        })
        .catch((error: unknown): JudgeResponse => {
          ports.fault(error);
          return { command: number, refused: unavailable('the statement could not be judged; the log of the service says why') };
        });
      session.underWay.add(answer);
      answer.then(resolve);
      answer.finally(() => {
        session.underWay.delete(answer);
        // What nobody asks for is not kept for ever: the session's end takes it along.
        if (held !== '' && session.state === 'ended') session.held.delete(held);
      });
    });
  }

  /** People allowed this very text, which may be long ago: how its result is masked goes by the catalog of now. */
  async function renewed(session: Session, command: Command): Promise<Command> {
    const generation = ports.generations.current;
    if (generation === command.generation) return command;
    const { prepared } = command.analysed;
    return { ...command, generation, analysed: await analysedWith(session.database, command.text, [], prepared) };
  }

  async function answerTo(
    session: Session,
    { analysed, text, generation, prepares, knownOrigins }: Command,
    {
      number,
      verdict,
      each,
    }: { number: () => number; verdict: Verdict; each: (of: Allowed | (Omit<Allowed, 'kind'> & { kind: 'later' })) => boolean },
  ): Promise<JudgeResponse> {
    const command = number();
    if (verdict.kind !== 'deny' && Date.now() >= session.expiresAt) return { command, refused: EXPIRED };
    if (verdict.kind !== 'allow' && verdict.kind !== 'later') return { command, refused: refusalOf(verdict, session.id, 'this statement') };
    if (verdict.credential !== '' && verdict.credential !== session.credential)
      return {
        command,
        refused: unsupported(
          `the policy lets this statement run with the credential "${verdict.credential}" only, and the session has "${session.credential}"`,
        ),
      };
    let plan: CommandPlan;
    try {
      plan = await planOf(session, text, analysed, verdict);
    } catch (error) {
      return {
        command,
        refused: unsupported(`the policy's obligations cannot be met: ${reasonOf(error)}`),
      };
    }
    if (verdict.kind === 'allow') noteChanges(session, command, analysed.analysis);
    if (prepares && prepares.name !== '') session.names.parsed(prepares.name, text, prepares.types);
    const eachExecution = each(verdict);
    const reuse = verdict.kind === 'later' || eachExecution ? REUSE.none : reuseOf(session, text, analysed, verdict);
    const unsettles = session.changes !== 'none';
    if (plan.originsId.length > 0 && knownOrigins.equals(plan.originsId)) plan = { ...plan, origins: [] };
    const byName = (analysed.analysis.executes ?? []).length > 0;
    return { command, allowed: { plan, eachExecution, policyRevision: verdict.revision, generation, reuse, unsettles, byName } };
  }

  /**
   * What a filter may let pass by this judgement without asking again. A text is resolved anew whenever it is sent, so nothing may be about to change what it means,
   * here or elsewhere; and the filter tells the record such texts as they are, so there must be nothing in them to be masked but what looks sensitive anywhere.
   */
  function reuseOf(session: Session, text: string, { analysis }: Analysed, { effect, dependsOn }: Allowed): Reuse {
    const { commands, complete, reads } = analysis.request;
    const one = effect === 'allow' && analysis.statements === 1 && commands.length === 1 && commands[0] === 'select';
    if (!one || !analysis.readOnly || !complete || analysis.maskedText !== text || reads.some(({ schema }) => schema === ''))
      return REUSE.none;
    if (session.changes !== 'none' || followed.has(session.database)) return REUSE.none;
    // What a star stands for may have changed in this moment, by anybody.
    if (analysis.expands !== false && analysis.touchesSensitive) return REUSE.none;
    return restsOn(dependsOn, SAME_FOR_EACH_TEXT) ? REUSE.shape : REUSE.text;
  }

  async function planOf(
    session: Session,
    text: string,
    analysed: Analysed,
    { obligations }: Pick<Allowed, 'obligations'>,
  ): Promise<CommandPlan> {
    const { database, target } = session;
    const others: string[] = [];
    for (const obligation of obligations)
      if (obligation.type === 'mask' && !(await database.covers(obligation.field))) others.push(obligation.field);
    // What must be masked though the target does not name it as sensitive: where it goes was not looked at yet.
    const { analysis, columns } = others.length === 0 ? analysed : await analysedWith(database, text, others, analysed.prepared);
    const { result, touchesSensitive, copyOut, statements, request } = analysis;
    const { complete, reads, writes } = request;
    const unknownReads = reads.some(({ schema }) => schema === '');
    // What this session has changed and not committed is not in the catalog: a star may stand for other columns, and what follows it for others yet.
    const masks = obligations.some(({ type }) => type === 'mask' || type === 'detect');
    if (session.changes === 'until-commit' && masks && touchesSensitive && analysis.expands)
      throw new Error('after a change of the database it is not known what * stands for: end the transaction, or name the columns');
    return ports.plan(
      target,
      obligations,
      {
        result,
        touchesSensitive,
        copies: analysis.copies === true,
        copyOut,
        statements,
        unknownReads,
        complete,
        writes: writes.length > 0,
      },
      columns,
    );
  }

  /** Under a catalog that knows what this session has changed, and what others have created since it was read. */
  async function analyse(session: Session, text: string): Promise<Analysed> {
    const { database } = session;
    if (session.changes !== 'none') await database.refresh();
    if (session.changes === 'one') session.changes = 'none';
    const analysed = await seenThrough(session, text);
    const { reads, writes } = analysed.analysis.request;
    // Another session has just changed what a star may stand for.
    const moved = followed.has(database) && analysed.analysis.expands === true && analysed.analysis.touchesSensitive;
    if (!moved && ![...reads, ...writes].some(({ schema }) => schema === '')) return analysed;
    await database.refresh();
    return seenThrough(session, text);
  }

  /** With what the names mean that it executes. */
  async function seenThrough({ database, names }: Session, text: string): Promise<Analysed> {
    const analysed = await database.analyse(text);
    const prepared = names.of(analysed.analysis.executes ?? []);
    return prepared.size === 0 ? analysed : analysedWith(database, text, [], prepared);
  }

  function noteChanges(session: Session, number: number, { request, ends, nameChanges = [], statements }: Analysis): void {
    // What is prepared does not run yet.
    if (request.complete || (statements === 1 && request.commands[0] === 'prepare')) session.names.passed(number, nameChanges);
    else session.names.lose();
    const unseen = !request.complete && request.commands.includes('execute');
    const changing = unseen || request.commands.some((command) => CHANGING.has(command.replace(/:.*/, '')));
    // Inside of a transaction nobody else sees the change before its end: the catalog is read again until then.
    if (changing) session.changes = 'until-commit';
    // What was changed in a prepared transaction is not known: any session may end it.
    else if (ends === 'own' ? session.changes !== 'none' : ends === 'prepared' && session.changes === 'none') session.changes = 'one';
    if (session.changes !== 'none') follow(session.database);
  }

  /** What other sessions have prepared may mean something else when the change is there: it runs now, and ends unseen. */
  function follow(database: Database): void {
    if (followed.has(database)) return;
    followed.add(database);
    for (const [i, ms] of FOLLOWED_AFTER_MS.entries())
      setTimeout(() => {
        if (i === 0) followed.delete(database);
        database.refresh().catch(() => {});
      }, ms).unref();
  }

  /** It cannot be judged as what the target would run: denied, and recorded as that. Its text is not: which of its literals are sensitive cannot be told. */
  async function unclear(session: Session, error: unknown): Promise<JudgeResponse> {
    if (!(error instanceof AnalysisFailure)) {
      ports.fault(error);
      return { command: 0, refused: unavailable('the statement could not be analysed; the log of the service says why') };
    }
    const reason = `${error.code}: the statement cannot be analysed`;
    if (error.code === 'unavailable' || error.code === 'timeout') return unjudged(session, reason, unavailable(error.message));
    return unjudged(session, reason, unsupported(error.message, '', SQLSTATE[error.code]));
  }

  async function unjudged(session: Session, reason: string, refused: Refusal): Promise<JudgeResponse> {
    const { command, failure } = await recordUnjudged(session, reason);
    return { command, refused: failure ?? refused };
  }

  /** A command that was refused before it was judged: it counts as denied. */
  async function recordUnjudged(session: Session, reason: string): Promise<{ readonly command: number; readonly failure?: Refusal }> {
    ports.observe.decision('refused', session.target, UNCLEAR.rule);
    const command = (session.commands += 1);
    const body = judgedBody('(a statement that was not judged)', { ...UNCLEAR, reason });
    try {
      await ports.record([{ session: session.id, target: session.target, command, body }]);
      return { command };
    } catch (failure) {
      return { command, failure: unavailable(`the statement could not be recorded: ${reasonOf(failure)}`) };
    }
  }

  async function refused({ session: id, code }: RefusedRequest) {
    const session = sessions.get(id);
    if (session?.state === 'ready') await recordUnjudged(session, `${code.slice(0, 5)}: the filter refused it`);
    return {};
  }

  async function awaited({ session: id, approval }: AwaitRequest, onGone: OnGone): Promise<JudgeResponse> {
    const session = sessions.get(id);
    const held = session?.held.get(approval);
    if (!session || !held) return { command: 0, refused: UNKNOWN_SESSION };
    onGone(held.giveUp);
    const answer = await held.answer;
    session.held.delete(approval);
    return answer;
  }

  async function cancel({ target, cancelKey }: CancelRequest) {
    const session = byCancelKey.get(keyOf(target, cancelKey));
    if (session) session.cancellations += 1;
    for (const { giveUp } of session?.held.values() ?? []) giveUp();
    return { known: session !== undefined };
  }

  async function close({ session: id, outcome, nextSequence }: CloseRequest) {
    const session = sessions.get(id);
    if (!session) return {};
    forget(session);
    if (session.changes !== 'none') session.database.refresh().catch(() => {});
    await Promise.all(session.underWay);
    const { target, emitter } = session;
    await ports
      .end({ session: id, target, outcome: OUTCOMES.has(outcome) ? outcome : 'failed', emitter, nextSequence })
      .catch((error: unknown) => ports.fault(error));
    return {};
  }

  /** Nothing rejects: a fault of ours lets nothing through. */
  const safely =
    <Q, A>(method: (request: Q, onGone: OnGone) => Promise<A>, otherwise: (refusal: Refusal) => A) =>
    (request: Q, onGone: OnGone = () => {}): Promise<A> =>
      method(request, onGone).catch((error: unknown) => {
        ports.fault(error);
        return otherwise(unavailable('the gateway has failed; the log of the service says why'));
      });

  return {
    open: safely(open, (refusal): OpenResponse => ({ session: '', refusal })),
    logIn: safely(logIn, (refusal) => ({ refusal })),
    ready: safely<ReadyRequest, { refusal?: Refusal }>(ready, (refusal) => ({ refusal })),
    judge: safely(judge, (refused): JudgeResponse => ({ command: 0, refused })),
    refused: safely<RefusedRequest, object>(refused, () => ({})),
    await: safely(awaited, (refused): JudgeResponse => ({ command: 0, refused })),
    cancel: safely(cancel, () => ({ known: false })),
    close: safely<CloseRequest, object>(close, () => ({})),
    generation: ({ emitter, known }, onGone) => ports.generations.ask(emitter, known, onGone),
    get size() {
      return sessions.size;
    },
    stop() {
      clearInterval(sweep);
      for (const session of [...sessions.values()]) forget(session);
    },
  };
}

/** Tells once that nobody waits any more; who asks later is told at once. */
class Departure {
  #gone = false;
  readonly #told: (() => void)[] = [];

  constructor(onGone: OnGone) {
    onGone(() => this.leave());
  }

  get gone(): boolean {
    return this.#gone;
  }

  leave(): void {
    this.#gone = true;
    for (const callback of this.#told.splice(0)) callback();
  }

  readonly onGone: OnGone = (callback) => {
    if (this.#gone) callback();
    else this.#told.push(callback);
  };
}

async function analysedWith(
  database: Database,
  text: string,
  others: readonly string[],
  prepared: Analysed['prepared'],
): Promise<Analysed> {
  return { ...(await database.analyse(text, others, prepared)), ...(prepared && { prepared }) };
}

const SQLSTATE = { syntax: '42601', too_large: '54000', unsupported: '0A000' } as const;
const TOKEN_HINT = 'Give an access token of a trusted issuer as the password.';
const EXPIRED: Refusal = {
  kind: REFUSAL.unauthenticated,
  message: 'the token that this session was opened with has expired',
  hint: 'Connect again, with a new token as the password.',
};
const UNKNOWN_SESSION = unavailable('the gateway does not know this session any more', 'Connect again.');
const OUTCOMES = new Set(['complete', 'cut', 'failed', 'cancelled', 'denied']);

/** A decision that does not say what it rests on may rest on anything. */
const restsOn = (dependsOn: readonly string[], what: ReadonlySet<string>): boolean =>
  dependsOn.length > 0 && dependsOn.every((word) => what.has(word));

const keyOf = (target: string, key: Buffer): string => `${target}\0${key.toString('latin1')}`;

/** As the record has it: no literal and no parameter that may be of a sensitive column. */
function recordedOf(request: SqlRequest, { analysis }: Analysed): SqlRequest {
  const suspect = analysis.touchesSensitive || !request.complete || request.writes.length > 0;
  return {
    ...request,
    statement: analysis.maskedText,
    ...(request.parameters && { parameters: request.parameters.map((value) => (value === null || !suspect ? value : MASKED)) }),
  };
}

function summaryOf(text: string): string {
  const line = text.replace(/\s+/g, ' ').trim();
  return line.length > MAX_SUMMARY ? `${line.slice(0, MAX_SUMMARY)}…` : line;
}

/** What the client asks for at start-up, as far as it may. */
function askedFor(
  { parameters }: OpenRequest,
  { name }: Database,
): { readonly parameters: ReadonlyMap<string, string> } | { readonly refusal: Refusal } {
  try {
    return { parameters: startupParameters(parameters, name) };
  } catch (error) {
    if (!(error instanceof StartupError)) throw error;
    return { refusal: unsupported(error.message, error.hint, error.code) };
  }
}

const reasonOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
