// Content types (RFC 9110, 8.3): the format of a body, and whether its charset can be read.

export const enum Format {
  UNKNOWN,
  JSON,
  JSON_LINES,
  JSON_SEQUENCE,
  EVENT_STREAM,
  FORM,
  CSV,
  TSV,
  TEXT,
}
export const enum Charset {
  UNKNOWN,
  UTF8,
  SINGLE_BYTE,
}

export class MediaType {
  format: Format = Format.UNKNOWN;
  charset: Charset = Charset.UTF8;
  /** RFC 4180: `header=absent`. */
  headerAbsent: bool = false;
}

/** HTML and XML are left out on purpose: entities and tags can hide a value from every detector. */
function formatOf(type: string): Format {
  if (type == 'application/json' || type == 'text/json' || type.endsWith('+json')) return Format.JSON;
  if (
    type == 'application/x-ndjson' ||
    type == 'application/ndjson' ||
    type == 'application/jsonl' ||
    type == 'application/x-jsonlines' ||
    type == 'application/json-lines'
  )
    return Format.JSON_LINES;
  if (type == 'application/json-seq' || type.endsWith('+json-seq')) return Format.JSON_SEQUENCE;
  if (type == 'text/event-stream') return Format.EVENT_STREAM;
  if (type == 'application/x-www-form-urlencoded') return Format.FORM;
  if (type == 'text/csv' || type == 'application/csv') return Format.CSV;
  if (type == 'text/tab-separated-values') return Format.TSV;
  if (type == 'text/plain' || type == 'text/markdown' || type == 'text/x-markdown' || type == 'text/x-log') return Format.TEXT;
  return Format.UNKNOWN;
}

/** Charsets in which every ASCII byte is that ASCII character and nothing else. */
function charsetOf(name: string): Charset {
  if (name == 'utf-8' || name == 'utf8' || name == 'us-ascii' || name == 'ascii') return Charset.UTF8;
  if (name == 'iso-8859-1' || name == 'latin1' || name == 'iso-8859-15' || name == 'windows-1252' || name == 'cp1252')
    return Charset.SINGLE_BYTE;
  return Charset.UNKNOWN;
}

function isTokenCharacter(c: i32): bool {
  return (c >= 0x30 && c <= 0x39) || (c >= 0x61 && c <= 0x7a) || "!#$%&'*+-.^_`|~".includes(String.fromCharCode(c));
}

function isToken(text: string): bool {
  for (let i = 0; i < text.length; i++) if (!isTokenCharacter(text.charCodeAt(i))) return false;
  return text.length > 0;
}

/** The media type; its format is UNKNOWN when the value is malformed. Parameters that say nothing about reading the body are passed over. */
export function parseMediaType(value: string): MediaType {
  const media = new MediaType(),
    text = value.toLowerCase();
  let semicolon = text.indexOf(';');
  const type = (semicolon < 0 ? text : text.substring(0, semicolon)).trim(),
    slash = type.indexOf('/');
  if (slash < 0 || !isToken(type.substring(0, slash)) || !isToken(type.substring(slash + 1))) return media;
  let charsets = 0;
  while (semicolon >= 0) {
    const from = semicolon + 1,
      end = parameterEnd(text, from);
    const parameter = text.substring(from, end).trim();
    semicolon = end < text.length ? end : -1;
    if (!parameter.length) continue;
    const equals = parameter.indexOf('=');
    if (equals < 0 || !isToken(parameter.substring(0, equals))) return media;
    const name = parameter.substring(0, equals);
    let argument = parameter.substring(equals + 1);
    if (argument.length >= 2 && argument.startsWith('"') && argument.endsWith('"')) argument = argument.substring(1, argument.length - 1);
    else if (!isToken(argument)) return media;
    if (name == 'charset') {
      charsets++;
      media.charset = charsetOf(argument);
    } else if (name == 'header' && argument == 'absent') media.headerAbsent = true;
  }
  if (charsets > 1) media.charset = Charset.UNKNOWN;
  media.format = formatOf(type);
  return media;
}

/** The next semicolon outside quotes, or the end. */
function parameterEnd(text: string, from: i32): i32 {
  let quoted = false,
    i = from;
  for (; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c == 0x22) quoted = !quoted;
    else if (c == 0x5c && quoted) i++;
    else if (c == 0x3b && !quoted) return i;
  }
  return text.length;
}
