import { hash } from 'node:crypto';
import type { Allow, Hold } from './decision.ts';
import { type Judgement, jsonOf, judgedBody, openedBody } from './events.ts';
import type { Allowed, Caller, HoldHandle, HoldOutcome, Ports, RecordedEvent, Verdict } from './ports.ts';
import type { Request } from './request.ts';

/**
 * The one pipeline behind every door: judge, hold, record. Nothing is let through before the record of its decision is
 * durable, and every failure on the way ends as a verdict that lets nothing through.
 */
export async function decide(ports: Ports, request: Request, caller: Caller): Promise<Verdict> {
  const requestJson = JSON.stringify(request.request);
  const envelope = envelopeOf(request);
  const evaluation = await ports.policy.evaluate(`${envelope}${requestJson}}`);
  if (evaluation.ok && evaluation.decision.effect !== 'deny' && caller.command?.later(evaluation.decision)) {
    ports.observe.stage('policy', evaluation.micros / 1e6);
    return { ...allowed(evaluation.decision, evaluation.revision, ''), kind: 'later' };
  }
  const command = caller.command?.number();
  const maskedInputJson = `${envelope}${ports.maskRequest(caller.recorded ? JSON.stringify(caller.recorded) : requestJson)}}`;
  const of = { session: request.session.id, target: request.target.name };
  const judged = (fields: Judgement): RecordedEvent[] => {
    const said = { maskedInputJson, identityMicros: caller.identityMicros, statementFingerprint: caller.command?.fingerprint ?? '' };
    const body = judgedBody(caller.summary, { ...said, ...fields });
    if (command !== undefined) return [{ ...of, command, body }];
    const run = { id: request.run.id, onBehalfOf: request.run.on_behalf_of };
    return [
      { ...of, body: openedBody(request.request.protocol, request.identity, run, caller.downstreamAddress) },
      { ...of, body },
    ];
  };

  if (!evaluation.ok) {
    ports.observe.decision('error', request.target.name, evaluation.code);
    const events = judged({ effect: 'deny', rule: evaluation.code, reason: evaluation.reason });
    return (await recorded(ports, [...events, ...ended(request, caller, 'failed')])) ?? failed(evaluation.code, evaluation.reason);
  }

  const { decision, revision, micros } = evaluation;
  ports.observe.stage('policy', micros / 1e6);
  ports.observe.decision(decision.effect, request.target.name, decision.rule);
  const { effect, rule, reason } = decision;
  const judgement = { effect, rule, reason, policyRevision: revision, policyMicros: micros, decisionJson: jsonOf(decision) };

  switch (decision.effect) {
    case 'deny':
      return (
        (await recorded(ports, [...judged(judgement), ...ended(request, caller, 'denied')])) ?? {
          kind: 'deny',
          rule: decision.rule,
          reason: decision.reason,
          approval: '',
          answer: '',
        }
      );
    case 'allow':
      return (await recorded(ports, judged(judgement))) ?? allowed(decision, revision, '');
    case 'hold': {
      const fingerprint = caller.fingerprint();
      const permit = termedFingerprint(fingerprint, decision);
      const held = { ...judgement, fingerprint };
      try {
        const grant = ports.approvals.hasGrants(permit) && (await ports.approvals.findGrant(permit, request.identity.id));
        if (grant)
          return (await recorded(ports, judged({ ...held, approval: grant.approval }))) ?? allowed(decision, revision, grant.approval);
        const failure = await recorded(ports, judged(held));
        if (failure) return failure;
        // It may have been answered while that was written.
        const late = ports.approvals.hasGrants(permit) && (await ports.approvals.findGrant(permit, request.identity.id));
        if (late)
          return (await recorded(ports, judged({ ...held, approval: late.approval }))) ?? allowed(decision, revision, late.approval);
        const handle =
          ports.approvals.join(permit, request.identity.id) ??
          (await ports.approvals.hold({
            fingerprint: permit,
            session: request.session.id,
            ...(command !== undefined && { command }),
            target: request.target.name,
            identity: request.identity,
            run: { id: request.run.id, onBehalfOf: request.run.on_behalf_of, source: request.run.source },
            rule: decision.rule,
            reason: decision.reason,
            summary: caller.summary,
            terms: decision.hold,
            decision,
            maskedInputJson,
          }));
        return await answered(ports, request, caller, { decision, revision, handle });
      } catch (error) {
        return failed('hold_unavailable', reasonOf(error));
      }
    }
  }
}

interface Holding {
  readonly decision: Hold;
  readonly revision: string;
  readonly handle: HoldHandle;
}

async function answered(ports: Ports, request: Request, caller: Caller, { decision, revision, handle }: Holding): Promise<Verdict> {
  caller.onHeld?.({ approval: handle.id, rule: decision.rule, reason: decision.reason });
  const since = performance.now();
  const end = await firstOf(handle, caller);
  ports.observe.stage('hold', (performance.now() - since) / 1000);
  const name = { rule: decision.rule, approval: handle.id };
  if (end === 'gone') {
    await recorded(ports, ended(request, caller, 'cancelled'));
    return { kind: 'gone' };
  }
  if (end === 'waited')
    return (await recorded(ports, ended(request, caller, 'pending'))) ?? { kind: 'pending', reason: decision.reason, ...name };
  switch (end.state) {
    case 'approved':
      // The answer was made durable before the outcome resolved.
      return allowed(decision, revision, handle.id);
    case 'denied':
    case 'expired': {
      const reason = end.state === 'denied' ? `denied by ${end.by.join(', ')}: ${end.reason}` : 'nobody answered in time';
      return (await recorded(ports, ended(request, caller, 'denied'))) ?? { kind: 'deny', reason, answer: end.state, ...name };
    }
    case 'interrupted':
      await recorded(ports, ended(request, caller, 'cancelled'));
      return failed('hold_interrupted', end.reason);
    case 'cancelled':
      return (
        (await recorded(ports, ended(request, caller, 'cancelled'))) ??
        failed('hold_cancelled', end.reason || 'the held request was cancelled')
      );
  }
}

/** The hold's outcome, or `gone` or `waited` when the caller leaves before it. */
function firstOf(handle: HoldHandle, caller: Caller): Promise<HoldOutcome | 'gone' | 'waited'> {
  return new Promise((resolve, reject) => {
    let over = false;
    let timer: NodeJS.Timeout | undefined;
    const end = (result: HoldOutcome | 'gone' | 'waited', leave?: () => void) => {
      if (over) return;
      over = true;
      clearTimeout(timer);
      leave?.();
      resolve(result);
    };
    handle.outcome.then((outcome) => end(outcome), reject);
    caller.onGone(() => end('gone', () => (caller.waitMs === undefined ? handle.cancel() : handle.detach())));
    if (caller.waitMs !== undefined) timer = setTimeout(() => end('waited', () => handle.detach()), caller.waitMs);
  });
}

function allowed({ effect, rule, obligations, credential, dependsOn }: Allow | Hold, revision: string, approval: string): Allowed {
  return { kind: 'allow', effect, rule, obligations, credential, approval, dependsOn, revision };
}

function failed(code: string, reason: string): Verdict {
  return { kind: 'failed', code, reason };
}

async function recorded(ports: Ports, events: readonly RecordedEvent[]): Promise<Verdict | undefined> {
  if (events.length === 0) return undefined;
  const since = performance.now();
  try {
    await ports.record(events);
    ports.observe.stage('tap', (performance.now() - since) / 1000);
    return undefined;
  } catch (error) {
    return failed('record_unavailable', reasonOf(error));
  }
}

/**
 * A grant is good for the same request under the same terms: when the policy has since asked for other approvers or a
 * larger quorum, an older approval no longer fits.
 */
function termedFingerprint(fingerprint: string, hold: Hold): string {
  const terms = JSON.stringify([fingerprint, hold.rule, [...hold.hold.approvers].sort(), hold.hold.quorum]);
  return hash('sha256', terms);
}

/** The input up to the typed request, which is serialised once and masked apart: `{…,"request":`. */
function envelopeOf({ time, identity, run, target, session }: Request): string {
  const [whose, where] = [jsonOf(identity), jsonOf(target)];
  return `{"time":${JSON.stringify(time)},"identity":${whose},"run":${JSON.stringify(run)},"target":${where},"session":${JSON.stringify(session)},"request":`;
}

/** The end of the session that the request was; of a command there is none. */
function ended(request: Request, caller: Caller, outcome: string): RecordedEvent[] {
  if (caller.command) return [];
  return [{ session: request.session.id, target: request.target.name, body: { kind: 'session_closed', outcome } }];
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
