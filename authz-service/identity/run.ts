import type { Run } from '../decision/request.ts';

/**
 * What the agent was set to do, from the first that names a run: the token's claims; the header `sluice-run`; the member `sluice.run` of W3C `baggage`.
 * The header `sluice-on-behalf-of` and the member `sluice.on_behalf_of` count only beside a run of their own source and when the token says nothing, so with
 * source `token` or `none`, `onBehalfOf` is always proved by the issuer. Two `sluice-run` headers name no run.
 * @param claims what the verifier found in the token
 * @param header gives every value of a header, by its lower-case name
 */
export function runOf(claims: { readonly id: string; readonly onBehalfOf: string }, header: (name: string) => readonly string[]): Run {
  if (claims.id !== '') return { ...claims, source: 'token' };
  const direct = only(header('sluice-run'));
  if (direct !== '') return { id: direct, onBehalfOf: claims.onBehalfOf || only(header('sluice-on-behalf-of')), source: 'header' };
  const baggage = parseBaggage(header('baggage'));
  const carried = only(baggage.get('sluice.run') ?? []);
  if (carried !== '')
    return { id: carried, onBehalfOf: claims.onBehalfOf || only(baggage.get('sluice.on_behalf_of') ?? []), source: 'baggage' };
  return { id: '', onBehalfOf: claims.onBehalfOf, source: 'none' };
}

/** The one value, if it is short and printable; a caller's word, so anything else is as if it were not said. */
function only(values: readonly string[]): string {
  const value = values.length === 1 ? (values[0] ?? '').trim() : '';
  return value.length <= 128 && !/[\p{Cc}\p{Cs}\p{Cf}]/u.test(value) ? value : '';
}

/** https://www.w3.org/TR/baggage/ section 3.3: lists of at most 64 members and 8,192 bytes; more is ignored. Properties are dropped. */
export function parseBaggage(headers: readonly string[]): ReadonlyMap<string, readonly string[]> {
  const members = new Map<string, string[]>();
  const list = headers.join(',');
  if (list.length > 8192) return members;
  for (const member of list.split(',').slice(0, 64)) {
    const [, key, value] =
      /^[\t ]*([!#$%&'*+\-.^_`|~0-9A-Za-z]+)[\t ]*=[\t ]*([\x21\x23-\x2B\x2D-\x3A\x3C-\x5B\x5D-\x7E]*)[\t ]*(?:;|$)/.exec(member) ?? [];
    const decoded = value === undefined ? undefined : percentDecoded(value);
    if (key !== undefined && decoded !== undefined) members.set(key, [...(members.get(key) ?? []), decoded]);
  }
  return members;
}

function percentDecoded(value: string): string | undefined {
  try {
    return decodeURIComponent(value);
  } catch {
    return undefined;
  }
}
