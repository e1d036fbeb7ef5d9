/** The sessions of four events that logs of the benches are made of, and how many events they have. */
import { closedBody, type TapBody } from '../../authz-service/tap/schema.ts';
import { judged, opened } from '../../authz-service/verify/log.fixture.ts';

const BODY: readonly TapBody[] = [opened, judged('allow'), { kind: 'request_forwarded', emitter: 'ab'.repeat(16) }, closedBody('complete')];

/** Of one session. */
export const EVENTS_OF_SESSION = BODY.length;

/** The event at this place of the log, from 0. */
export const eventAt = (i: number): { readonly session: string; readonly target: string; readonly body: TapBody } => ({
  session: `ses_${Math.floor(i / BODY.length)}`,
  target: 'demo',
  body: BODY[i % BODY.length] as TapBody,
});

/** `--events N` of the command line. */
export const eventsAsked = (otherwise: number): number => {
  const said = process.argv.indexOf('--events');
  return said > 0 ? Number(process.argv[said + 1]) : otherwise;
};
