/** What the events of a session say, in words: for terminals, and for the page of an evidence bundle. */

import type { Kind } from '../tap/schema.ts';
import { printable, roughly } from './printable.ts';

/** An event as the admin API shows it: with its body, or what is left of one that was deleted after its retention. */
export type ReplayedEvent = TellingEvent | (About & { readonly body?: undefined; readonly deleted: true });

export type TellingEvent = About & { readonly body: Body; readonly deleted?: false };

interface About {
  /** RFC 3339, to the nanosecond. */
  readonly time: string;
  readonly session: string;
  readonly target: string;
  readonly kind: string;
  /** Of payload that was deleted: which class of it, where its leaf tells. */
  readonly payload?: string;
  /** Which command of the session it is about; absent: of the session as a whole. */
  readonly command?: number;
  /** Fields that their writer shortened. */
  readonly truncated?: readonly string[];
  /** It arrived after the session's end. */
  readonly late?: boolean;
}

type Body = Readonly<Record<string, unknown>>;

const word = (body: Body, name: string): string => String(body[name] ?? '');
const number = (body: Body, name: string): number => Number(body[name] ?? 0);
const because = (reason: string): string => (reason === '' ? '' : `: ${reason}`);

const listed = (...words: readonly string[]): string => words.flatMap((each) => (each ? [`, ${each}`] : [])).join('');

function bytes(count: number): string {
  return count < 10_000 ? `${count} B` : count < 10_000_000 ? `${(count / 1000).toFixed(1)} kB` : `${(count / 1_000_000).toFixed(1)} MB`;
}

export function micros(count: number): string {
  if (count < 10_000) return `${count} µs`;
  if (count < 10_000_000) return `${(count / 1000).toFixed(1)} ms`;
  return count < 60_000_000 ? `${(count / 1_000_000).toFixed(2)} s` : roughly(count / 1000);
}

/** What an event says, a line or more; the first line stands beside the time. */
const TELLS: Readonly<Record<Kind, (body: Body) => readonly string[]>> = {
  session_opened: (body) => [
    `opened: ${word(body, 'protocol')} from ${word(body, 'downstreamAddress') || 'an unknown address'}`,
    `by ${word(body, 'identity')}`,
    ...(word(body, 'run') ? [`run ${word(body, 'run')}`] : []),
    ...(word(body, 'onBehalfOf') ? [`on behalf of ${word(body, 'onBehalfOf')}`] : []),
  ],
  request_judged: (body) => [
    `judged ${word(body, 'request')}: ${word(body, 'effect')} by ${word(body, 'rule')}${because(word(body, 'reason'))}`,
    ...(word(body, 'approval') ? [`let through by the grant of ${word(body, 'approval')}`] : []),
    `identity ${micros(number(body, 'identityMicros'))}, policy ${micros(number(body, 'policyMicros'))}, revision ${word(body, 'policyRevision').slice(0, 12)}${word(body, 'statementFingerprint') && `, fingerprint ${word(body, 'statementFingerprint')}`}`,
  ],
  request_held: (body) => [
    `held as ${word(body, 'approval')} for ${(body.approvers as readonly string[]).join(', ')} (${number(body, 'quorum')} of them)${because(word(body, 'reason'))}`,
  ],
  hold_answered: (body) => [`${word(body, 'answer')}${word(body, 'by') ? ` by ${word(body, 'by')}` : ''}${because(word(body, 'reason'))}`],
  request_forwarded: () => ['forwarded to the target'],
  response_finished: (body) => [
    `response ${number(body, 'status')} ${word(body, 'outcome')}${because(word(body, 'reason'))}`,
    `${bytes(number(body, 'requestBytes'))} in, ${bytes(number(body, 'responseBytes'))} out; first byte after ${micros(number(body, 'firstByteMicros'))}, end after ${micros(number(body, 'durationMicros'))}`,
    ...(body.masked as readonly { rule: string; count: number | string }[]).map(({ rule, count }) => `masked ${rule}: ${count}`),
  ],
  session_closed: (body) => [
    `closed: ${word(body, 'outcome')}`,
    ...(word(body, 'missingEmitter')
      ? [
          `events had not arrived, and are not waited for: those of this session among ${number(body, 'missingFrom')} to ${number(body, 'missingTo')} of emitter ${word(body, 'missingEmitter')}`,
        ]
      : []),
  ],
  payload_chunk: (body) => [
    `${word(body, 'direction')}: ${bytes(Buffer.byteLength(word(body, 'data'), 'base64'))} from byte ${number(body, 'offset')}${listed(
      word(body, 'contentType'),
      word(body, 'contentEncoding'),
    )}${body.last ? '; the end' : ''}${body.truncated ? `; not recorded further${because(word(body, 'reason'))}` : ''}`,
  ],
  command_finished: (body) => [
    ...(word(body, 'statement') ? [`ran as judged: ${word(body, 'statement')}`] : []),
    `${word(body, 'outcome')}${word(body, 'tag') ? ` ${word(body, 'tag')}` : ''}${word(body, 'code') ? ` with ${word(body, 'code')}` : ''}`,
    `${number(body, 'rows')} ${number(body, 'rows') === 1 ? 'row' : 'rows'}, ${bytes(number(body, 'bytes'))} out; after ${micros(number(body, 'durationMicros'))}`,
    ...(body.masked as readonly { rule: string; count: number | string }[]).map(({ rule, count }) => `masked ${rule}: ${count}`),
  ],
  envoy_access_log: (body) => [
    `Envoy logged ${[word(body, 'protocol'), word(body, 'method'), word(body, 'authority') + word(body, 'path')].filter(Boolean).join(' ')}: ${
      number(body, 'status') || 'no status'
    }${listed(word(body, 'details'), ...(body.flags as readonly string[]))}`,
    `${bytes(number(body, 'requestBytes'))} in, ${bytes(number(body, 'responseBytes'))} out; after ${micros(number(body, 'durationMicros'))}`,
    `from ${word(body, 'downstreamAddress') || 'an unknown address'}${word(body, 'upstreamAddress') ? ` to ${word(body, 'upstreamAddress')}` : ''}`,
    ...(word(body, 'failure') ? [`failed: ${word(body, 'failure')}`] : []),
  ],
  envoy_tap: (body) => [
    `Envoy's tap ${word(body, 'tap')} saw ${[
      word(body, 'piece') || word(body, 'form'),
      word(body, 'method'),
      word(body, 'authority') + word(body, 'path'),
    ]
      .filter(Boolean)
      .join(' ')}${number(body, 'status') ? `: ${number(body, 'status')}` : ''}`,
    `${bytes(number(body, 'requestBytes'))} in, ${bytes(number(body, 'responseBytes'))} out${body.truncated ? ', cut by Envoy' : ''}; trace ${word(body, 'trace') || 'without an id'}`,
    ...(word(body, 'session') ? [`a header of the answer named the session ${word(body, 'session')}`] : []),
  ],
  notice: (body) => [`notice ${word(body, 'notice')}${because(word(body, 'text'))}`],
};

/** An event's time: nanoseconds since the Unix epoch. */
export function nanos(time: string): bigint {
  const [, seconds = '', fraction = ''] = /^(.*?)(?:\.(\d+))?Z$/.exec(time) ?? [];
  return BigInt(Date.parse(`${seconds}Z`) || 0) * 1_000_000n + BigInt(fraction.slice(0, 9).padEnd(9, '0'));
}

const told = (kind: string, body: Body): readonly string[] =>
  Object.hasOwn(TELLS, kind) ? TELLS[kind as Kind](body) : [`${kind}: this version does not know it`];

const goneText = (kind: string, payload: string | undefined): string =>
  payload === undefined ? `${kind}: deleted after its retention` : `${kind} (${payload}): deleted after the retention of ${payload}`;

/** What an event says: a line, and further ones that explain it. Nothing in them moves a cursor. */
export const tell = ({ kind, payload, command, body, truncated = [], late = false }: ReplayedEvent): readonly [string, ...string[]] => {
  const [what = '', ...more] = body === undefined ? [goneText(kind, payload)] : told(kind, body);
  return [
    printable(command === undefined ? what : `[${command}] ${what}`),
    ...more.map(printable),
    ...(truncated.length > 0 ? [printable(`shortened by its writer: ${truncated.join(', ')}`)] : []),
    ...(late ? ['arrived after the end of the session had been recorded'] : []),
  ];
};

export const heading = (session: string, first: ReplayedEvent): string =>
  `${session} on ${printable(first.target)}, ${first.time.slice(0, 19)}Z`;
