/** The evidence as a page: readable without anything, and the same bytes for the same evidence, so that a page that says otherwise than its evidence shows. */
import { classOf, decodeLeaf } from '../log/leaf.ts';
import { printable } from '../replay/printable.ts';
import { type ReplayedEvent, tell } from '../replay/tell.ts';
import { decodeEvent, eventToJson, timeText } from '../tap/event.ts';
import { BODIES, type Kind, type TapEvent } from '../tap/schema.ts';
import { extentInWords, Faults } from '../verify/report.ts';
import { checkSession, type ProvenLeaf, type VerifiedEvent } from '../verify/session.ts';
import { type Evidence, EvidenceError, parseEvidence } from './bundle.ts';

const BEGIN = '<script type="application/json" id="evidence">';
const END = '</script>';

const escaped = (text: string): string =>
  printable(text).replace(/[&<>"']/g, (each) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' })[each] as string);

const STYLE = `
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #1b1f24; }
h1 { font-size: 1.4rem } code, pre, td.mono { font-family: ui-monospace, monospace; font-size: .86em; overflow-wrap: anywhere }
table { border-collapse: collapse; width: 100%; margin: 1rem 0 } th, td { text-align: left; vertical-align: top; padding: .3rem .6rem; border-bottom: 1px solid #d8dee4 }
tr.gone td { color: #6e7781 } pre { white-space: pre-wrap; background: #f6f8fa; padding: .6rem; margin: .3rem 0 } .hint { color: #57606a }`;

interface Row {
  readonly index: number;
  readonly time: string;
  readonly lines: readonly string[];
  /** What was recorded of it as the client saw it, when it is text. */
  readonly payload: string | undefined;
  readonly gone: boolean;
}

const kindOf = (number: number): string =>
  (Object.keys(BODIES) as Kind[]).find((kind) => BODIES[kind].number === number) ?? `kind ${number}`;

const rowOf = ({ index, entry, detail }: ProvenLeaf): Row => {
  const leaf = decodeLeaf(entry);
  const time = timeText(leaf.timeUnixNanos);
  const kind = kindOf(leaf.kind);
  if (detail === undefined)
    return {
      index,
      time,
      lines: [`${kind}: deleted after its retention (${classOf(leaf.kind)}); its leaf remains`],
      payload: undefined,
      gone: true,
    };
  if (!(kind in BODIES)) return { index, time, lines: [`${kind}: this version does not know it`], payload: undefined, gone: true };
  const event = decodeEvent(detail.event);
  return { index, time, lines: tell(eventToJson(event) as unknown as ReplayedEvent), payload: payloadOf(event), gone: false };
};

const readEvent = ({ index, entry, detail }: ProvenLeaf): VerifiedEvent => {
  const leaf = decodeLeaf(entry);
  return { index, leaf, event: detail === undefined || !(kindOf(leaf.kind) in BODIES) ? undefined : decodeEvent(detail.event) };
};

const payloadOf = ({ body }: TapEvent): string | undefined => {
  if (body.kind !== 'payload_chunk') return undefined;
  const bytes = Buffer.from(body.data);
  const text = bytes.toString('utf8');
  return Buffer.from(text).equals(bytes) ? text : undefined;
};

const rowHtml = ({ index, time, lines: [head = '', ...more], payload, gone }: Row): string =>
  `<tr${gone ? ' class="gone"' : ''}><td class="mono">${index}</td><td class="mono">${escaped(time.slice(0, 23))}Z</td><td>${escaped(head)}${more
    .map((line) => `<br><span class="hint">${escaped(line)}</span>`)
    .join('')}${payload === undefined ? '' : `<pre>${payload.split('\n').map(escaped).join('\n')}</pre>`}</td></tr>`;

/** Throws what its parts throw when a leaf or an event cannot be read. */
export const pageOf = (evidence: Evidence, leaves: readonly ProvenLeaf[]): string => {
  const rows = leaves.map(rowOf);
  const extent = extentInWords(checkSession(leaves.map(readEvent), new Faults()));
  const json = JSON.stringify(evidence).replaceAll('<', '\\u003c');
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>Evidence: ${escaped(evidence.session)}</title>
<style>${STYLE}
</style>
</head>
<body>
<h1>Session ${escaped(evidence.session)}</h1>
<p>${rows.length} events of the log <code>${escaped(evidence.origin)}</code>, each proven to stand in it by the checkpoint below. Sensitive values are masked, as they were for whoever saw them.</p>
<p>${escaped(`${extent.charAt(0).toUpperCase()}${extent.slice(1)}`)}.</p>
<p class="hint">This page proves nothing by itself: <code>sluice verify FILE --key KEY</code> does, with the log's public key as you were given it, and needs no access to the gateway. It fails when a single byte of this file was changed.</p>
<table>
<thead><tr><th>leaf</th><th>time (UTC)</th><th>what happened</th></tr></thead>
<tbody>
${rows.map(rowHtml).join('\n')}
</tbody>
</table>
<h2>Checkpoint</h2>
<pre>${evidence.checkpoint.split('\n').map(escaped).join('\n')}</pre>
<h2>Public keys of the log</h2>
<pre>${evidence.keys.map(escaped).join('\n')}</pre>
${BEGIN}${json}${END}
</body>
</html>
`;
};

/** The evidence inside of a page. Throws an `EvidenceError`. `faithful`: the page is the one that this evidence gives. */
export const readPage = (html: string): { readonly evidence: Evidence; readonly leaves: ProvenLeaf[]; readonly faithful: boolean } => {
  const from = html.indexOf(BEGIN);
  const to = html.indexOf(END, from);
  if (from < 0 || to < 0) throw new EvidenceError('the file is no evidence bundle');
  const { evidence, leaves } = parseEvidence(html.slice(from + BEGIN.length, to).replaceAll('\\u003c', '<'));
  let faithful = false;
  try {
    faithful = pageOf(evidence, leaves) === html;
  } catch {
    // What cannot be read cannot have given this page: the leaves tell what is wrong with them.
  }
  return { evidence, leaves, faithful };
};
