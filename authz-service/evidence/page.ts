/**
 * The evidence as a page: readable without anything, and the same bytes for the same evidence, so that a page that says otherwise than its evidence shows. What stands
 * between the evidence and changes from one version to the next has a number, `DRAWING`; a verifier of another one verifies the evidence, and can draw it again.
 *
 *     <script id="evidence">HEAD</script>       what the page is, and what it proves
 *     <script>LEAF</script>                     a row of the table; for each event
 *                                               the checkpoint and the keys
 */
import { classOf, decodeLeaf } from '../log/leaf.ts';
import { type MostShown, Payloads, type Piece } from '../replay/payload.ts';
import { printable } from '../replay/printable.ts';
import { type ReplayedEvent, tell } from '../replay/tell.ts';
import { decodeEvent, eventToJson, timeText } from '../tap/event.ts';
import { kindOf, payloadOf } from '../tap/leaf_kind.ts';
import { extentInWords, missingInWords } from '../verify/report.ts';
import type { ProvenLeaf } from '../verify/session.ts';
import type { Head } from './bundle.ts';

/** Of payload, what a browser draws at its ease: all of it is in the file. */
const DRAWN: MostShown = { lines: 500, characters: 64_000, all: 4_000_000 };
const WIDEST_CELL = 1000;

const ENTITY: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };
const entities = (text: string): string => text.replace(/[&<>"']/g, (each) => ENTITY[each] as string);
const escaped = (text: string): string => entities(printable(text));

const STYLE = `
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #1b1f24; }
h1 { font-size: 1.4rem } code, pre, td.mono, .rows { font-family: ui-monospace, monospace; font-size: .86em; overflow-wrap: anywhere }
table { border-collapse: collapse; width: 100%; margin: 1rem 0 } th, td { text-align: left; vertical-align: top; padding: .3rem .6rem; border-bottom: 1px solid #d8dee4 }
tr.gone td { color: #6e7781 } pre { white-space: pre-wrap; background: #f6f8fa; padding: .6rem; margin: .3rem 0 } .hint { color: #57606a }
.scroll { overflow-x: auto } .rows { width: auto; margin: .3rem 0; background: #f6f8fa } .rows td { white-space: pre-wrap } .masked { background: #fff3c4 } .null { color: #8c959f }`;

const sentence = (text: string): string => `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;

/** Of what a page shows around its evidence: every change of it is a new one. drawing.test.ts knows what this one draws. */
export const DRAWING = 4;

/** With what every page begins, whatever draws it: it lets no script run. */
export const BEGINNING = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
`;
/** Around the lines of JSON. */
export const HEAD_MARK = '<script type="application/json" id="evidence">';
export const LEAF_MARK = '<script type="application/json">';
export const END_MARK = '</script>\n';

/** What is shown of the head, behind it. */
export const opening = ({ session, origin, extent, payloads, missing }: Head): string => `<title>Evidence: ${escaped(session)}</title>
<style>${STYLE}
</style>
</head>
<body>
<h1>Session ${escaped(session)}</h1>
<p>${extent.events.toLocaleString('en')} events of the log <code>${escaped(origin)}</code>, each proven to stand in it by the checkpoint below. Sensitive values are masked, as they were for whoever saw them.${
  payloads ? '' : ' Recorded payload was left out of this page: its leaves are here, and prove that there was some.'
}</p>
<p>${escaped(sentence(extentInWords(extent)))}</p>${missing === undefined ? '' : `\n<p>Not on this page, their leaves remaining: ${escaped(missingInWords(missing))}.</p>`}
<p class="hint">This page proves nothing by itself: <code>sluice verify FILE --key KEY</code> does, with the log's public key as you were given it, and needs no access to the gateway. It fails when a single byte of this file was changed.</p>
<table>
<thead><tr><th>leaf</th><th>time (UTC)</th><th>what happened</th></tr></thead>
<tbody>
`;

/** What follows the last event. */
export const closing = ({ checkpoint, keys }: Head): string => `</tbody>
</table>
<h2>Checkpoint</h2>
<pre>${checkpoint.split('\n').map(escaped).join('\n')}</pre>
<h2>Public keys of the log</h2>
<pre>${keys.map(escaped).join('\n')}</pre>
</body>
</html>
`;

/** One for each page: payload goes on from one event to the next. */
export class Rows {
  readonly #payloads = new Payloads(DRAWN);
  readonly #leftOut: boolean;
  /** Whether all that is not on the page went when its retention was over, as the record says. */
  readonly #deleted: boolean;

  constructor({ payloads, missing }: Pick<Head, 'payloads' | 'missing'>) {
    this.#leftOut = !payloads;
    this.#deleted = missing !== undefined && missing.withheld === 0 && missing.unexplained === 0;
  }

  /** What is shown of an event, behind it. Throws what its parts throw when leaf or event cannot be read. */
  next({ index, entry, detail }: ProvenLeaf): string {
    const leaf = decodeLeaf(entry);
    const known = kindOf(leaf.kind);
    const kind = known ?? `kind ${leaf.kind}`;
    const time = timeText(leaf.timeUnixNanos);
    if (detail === undefined) {
      const detailClass = classOf(leaf.kind);
      const payload = payloadOf(leaf.kind);
      const gone = this.#deleted ? `deleted when the retention of ${detailClass} was over` : 'not in the record any more';
      const why = this.#leftOut && detailClass !== 'events' ? 'left out of this page, or deleted before' : gone;
      return row(index, time, escaped(`${kind}${payload === undefined ? '' : ` (${payload})`}: ${why}; its leaf remains`), true);
    }
    if (known === undefined) return row(index, time, escaped(`${kind}: this version does not know it`), true);
    const event = eventToJson(decodeEvent(detail.event)) as unknown as ReplayedEvent;
    const [head, ...more] = tell(event);
    const told = [escaped(head), ...more.map((line) => `<br><span class="hint">${escaped(line)}</span>`)];
    return row(index, time, [...told, ...this.#payloads.pieces(event).map(drawn)].join(''));
  }
}

const row = (index: number, time: string, html: string, gone = false): string =>
  `<tr${gone ? ' class="gone"' : ''}><td class="mono">${index}</td><td class="mono">${escaped(time.slice(0, 23))}Z</td><td>${html}</td></tr>\n`;

const drawn = (piece: Piece): string => {
  if (piece.kind === 'note') return `<p class="hint">(${escaped(piece.text)})</p>`;
  if (piece.kind === 'text') return `<pre>${piece.lines.map(escaped).join('\n')}</pre>`;
  const { columns, rows } = piece;
  const heads = columns.map(({ name, masked }) =>
    masked === '' ? `<th>${escaped(name)}</th>` : `<th class="masked">${escaped(name)}<br>masked: ${escaped(masked)}</th>`,
  );
  const cells = (of: (typeof rows)[number]): string =>
    of
      .map((cell, at) => `<td${classAttribute(cell, columns[at]?.masked ?? '')}>${cell === undefined ? 'NULL' : cellText(cell)}</td>`)
      .join('');
  return `<div class="scroll"><table class="rows"><thead><tr>${heads.join('')}</tr></thead><tbody>${rows
    .map((each) => `<tr>${cells(each)}</tr>`)
    .join('')}</tbody></table></div>`;
};

const classAttribute = (cell: string | undefined, masked: string): string => {
  const names = [...(masked === '' ? [] : ['masked']), ...(cell === undefined ? ['null'] : [])];
  return names.length === 0 ? '' : ` class="${names.join(' ')}"`;
};

/** Line breaks of a value stay line breaks. */
const cellText = (cell: string): string => {
  const cut = cell.length > WIDEST_CELL;
  const shown = cut ? cell.slice(0, WIDEST_CELL - 1) : cell;
  return `${shown.split(/\r?\n/).map(escaped).join('\n')}${cut ? '…' : ''}`;
};
