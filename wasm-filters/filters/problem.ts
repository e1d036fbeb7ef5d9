// What the filter answers in place of the target: problem details (RFC 9457), one row per kind.
import { at, ByteBuffer, utf8 } from '../abi/bytes';
import { HeaderBlock } from '../abi/headers';
import { sendLocalResponse } from '../abi/host';

export class Problem {
  private type: ArrayBuffer;
  private title: ArrayBuffer;
  private detail: ArrayBuffer;
  private details: ArrayBuffer;

  /** `code`: the end of the problem's type, and, as `sluice_CODE`, Envoy's response code details. The texts need no JSON escape. */
  constructor(
    public status: u32,
    code: string,
    title: string,
    detail: string,
    private retry: bool,
  ) {
    this.type = utf8(code);
    this.title = utf8(title);
    this.detail = utf8(detail);
    this.details = utf8(`sluice_${code.replaceAll('-', '_')}`);
  }

  /** Sends it for the effective context. `reason` may be empty, and is quoted as it is; so is `session`, which was checked. */
  send(reason: ArrayBuffer, session: ArrayBuffer): void {
    body.reset();
    write(TYPE, this.type);
    write(TITLE, this.title);
    body.bytes(STATUS);
    body.decimal(this.status);
    write(DETAIL, this.detail);
    if (reason.byteLength) write(REASON, reason);
    if (session.byteLength) write(SESSION, session);
    body.bytes(END);
    headers.reset();
    headers.addBytes(CONTENT_TYPE, PROBLEM_JSON);
    headers.addBytes(CACHE_CONTROL, NO_STORE);
    if (this.retry) headers.addBytes(RETRY_AFTER, ONE_SECOND);
    if (session.byteLength) headers.addBytes(SESSION_HEADER, session);
    sendLocalResponse(this.status, this.details, body, headers.finish());
  }
}

const TYPE = utf8('{"type":"urn:sluice:problem:'),
  TITLE = utf8('","title":"'),
  STATUS = utf8('","status":');
const DETAIL = utf8(',"detail":"'),
  REASON = utf8('","reason":"'),
  SESSION = utf8('","session":"'),
  END = utf8('"}\n');
const CONTENT_TYPE = utf8('content-type'),
  PROBLEM_JSON = utf8('application/problem+json');
const CACHE_CONTROL = utf8('cache-control'),
  NO_STORE = utf8('no-store');
const RETRY_AFTER = utf8('retry-after'),
  ONE_SECOND = utf8('1');
const SESSION_HEADER = utf8('x-sluice-session');
const body = new ByteBuffer(512);
const headers = new HeaderBlock();

function write(before: ArrayBuffer, text: ArrayBuffer): void {
  body.write(at(before), before.byteLength);
  body.write(at(text), text.byteLength);
}

export const NOT_JUDGED = new Problem(
  503,
  'not-judged',
  'Not judged',
  'No decision came with this request, so it was not let through.',
  false,
);
export const NO_TUNNEL = new Problem(
  501,
  'no-tunnel',
  'No tunnels',
  'What goes through a tunnel cannot be judged, so this gateway opens none; send the request itself.',
  false,
);
export const PLAN_UNREADABLE = new Problem(
  503,
  'plan-unreadable',
  'Not let through',
  'What the decision obliges the filter to do cannot be read, so the request was not let through.',
  false,
);
export const TAP_AWAY = new Problem(503, 'tap-away', 'Not recorded', 'The tap sink is away, so the request was not let through.', true);
export const TAP_FULL = new Problem(
  503,
  'tap-full',
  'Not recorded',
  'The tap sink is too far behind, so the request was not let through.',
  true,
);
export const UPGRADE_UNMASKABLE = new Problem(
  501,
  'upgrade-unmaskable',
  'Not let through',
  'What follows an upgrade cannot be masked, and the decision obliges to mask.',
  false,
);
export const RESPONSE_UNMASKABLE = new Problem(
  502,
  'response-unmaskable',
  'Response withheld',
  'The response cannot be masked as the decision obliges, so it was withheld.',
  false,
);
