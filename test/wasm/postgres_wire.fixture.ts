/** PostgreSQL's messages, as tests write and read them. */
const int16 = (n: number): Buffer => Buffer.from([(n >> 8) & 255, n & 255]);
const int32 = (n: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(n | 0);
  return bytes;
};
const text = (value: string): Buffer => Buffer.from(`${value}\0`);

export function message(type: string, ...parts: Buffer[]): Buffer {
  const body = Buffer.concat(parts);
  return Buffer.concat([Buffer.from(type), int32(body.length + 4), body]);
}

const packet = (...parts: Buffer[]): Buffer => {
  const body = Buffer.concat(parts);
  return Buffer.concat([int32(body.length + 4), body]);
};

export const SSL_REQUEST = packet(int32(80877103));
export const GSSENC_REQUEST = packet(int32(80877104));
export const cancel = (pid: number, secret: number): Buffer => packet(int32(80877102), int32(pid), int32(secret));
export const startup = (parameters: Record<string, string>, version = 0x30000): Buffer =>
  packet(int32(version), ...Object.entries(parameters).flatMap(([name, value]) => [text(name), text(value)]), Buffer.alloc(1));

/** Of the client. */
export const front = {
  password: (token: string): Buffer => message('p', text(token)),
  query: (sql: string): Buffer => message('Q', text(sql)),
  parse: (name: string, sql: string, types: number[] = []): Buffer =>
    message('P', text(name), text(sql), int16(types.length), ...types.map(int32)),
  bind: (portal: string, statement: string, values: (string | null)[] = [], formats: number[] = [], results: number[] = []): Buffer =>
    message(
      'B',
      text(portal),
      text(statement),
      int16(formats.length),
      ...formats.map(int16),
      int16(values.length),
      ...values.map((value) => (value === null ? int32(-1) : Buffer.concat([int32(Buffer.byteLength(value)), Buffer.from(value)]))),
      int16(results.length),
      ...results.map(int16),
    ),
  describe: (kind: 'S' | 'P', name: string): Buffer => message('D', Buffer.from(kind), text(name)),
  execute: (portal: string, rows = 0): Buffer => message('E', text(portal), int32(rows)),
  close: (kind: 'S' | 'P', name: string): Buffer => message('C', Buffer.from(kind), text(name)),
  sync: message('S'),
  flush: message('H'),
  terminate: message('X'),
  copyData: (data: string): Buffer => message('d', Buffer.from(data)),
  copyDone: message('c'),
  copyFail: message('f', text('no')),
  functionCall: message('F', int32(1), int16(0), int16(0), int16(0)),
};

export interface Column {
  readonly name: string;
  readonly table?: number;
  readonly attribute?: number;
  readonly type?: number;
  readonly format?: number;
}

/** Of the server. */
export const back = {
  authentication: (code: number, rest = Buffer.alloc(0)): Buffer => message('R', int32(code), rest),
  parameter: (name: string, value: string): Buffer => message('S', text(name), text(value)),
  key: (pid: number, secret: number): Buffer => message('K', int32(pid), int32(secret)),
  ready: (status = 'I'): Buffer => message('Z', Buffer.from(status)),
  parseComplete: message('1'),
  bindComplete: message('2'),
  closeComplete: message('3'),
  noData: message('n'),
  suspended: message('s'),
  empty: message('I'),
  parameters: (...types: number[]): Buffer => message('t', int16(types.length), ...types.map(int32)),
  columns: (...columns: Column[]): Buffer =>
    message(
      'T',
      int16(columns.length),
      ...columns.flatMap(({ name, table = 0, attribute = 0, type = 25, format = 0 }) => [
        text(name),
        int32(table),
        int16(attribute),
        int32(type),
        int16(-1),
        int32(-1),
        int16(format),
      ]),
    ),
  row: (...values: (string | Buffer | null)[]): Buffer =>
    message(
      'D',
      int16(values.length),
      ...values.flatMap((value) => (value === null ? [int32(-1)] : [int32(Buffer.byteLength(value)), Buffer.from(value as string)])),
    ),
  complete: (tag: string): Buffer => message('C', text(tag)),
  error: (fields: Record<string, string>): Buffer =>
    message('E', ...Object.entries({ S: 'ERROR', V: 'ERROR', ...fields }).map(([name, value]) => text(name + value)), Buffer.alloc(1)),
  notice: (fields: Record<string, string>): Buffer =>
    message('N', ...Object.entries({ S: 'NOTICE', V: 'NOTICE', ...fields }).map(([name, value]) => text(name + value)), Buffer.alloc(1)),
  notification: message('A', int32(1), text('channel'), text('payload')),
  copyOut: (columns: number, format = 0): Buffer =>
    message('H', Buffer.from([format]), int16(columns), ...Array(columns).fill(int16(format))),
  copyIn: (columns: number): Buffer => message('G', Buffer.from([0]), int16(columns), ...Array(columns).fill(int16(0))),
  copyData: (data: string): Buffer => message('d', Buffer.from(data)),
  copyDone: message('c'),
};

/** Whole messages in words: `D[1,null]`, `E{C:42501}`; what is not one is shown in hexadecimal. */
export function words(bytes: Buffer, typeless = false): string[] {
  const out: string[] = [];
  for (let at = 0; at < bytes.length; ) {
    if (typeless || bytes[at] === 0) {
      const length = bytes.readInt32BE(at);
      out.push(`packet ${bytes.readInt32BE(at + 4)}`);
      at += length;
      continue;
    }
    const length = at + 5 <= bytes.length ? bytes.readInt32BE(at + 1) : -1;
    if (length < 4 || at + 1 + length > bytes.length) {
      out.push(`?${bytes.subarray(at).toString('hex')}`);
      break;
    }
    out.push(word(String.fromCharCode(bytes[at] as number), bytes.subarray(at + 5, at + 1 + length)));
    at += 1 + length;
  }
  return out;
}

function word(type: string, body: Buffer): string {
  switch (type) {
    case 'E':
    case 'N':
      if (type === 'E' && !/^[SVC]/.test(body.toString())) return `Execute ${body.toString('utf8', 0, body.indexOf(0))}`;
      return `${type}{${body
        .toString()
        .split('\0')
        .filter((field) => field !== '' && field[0] !== 'V')
        .map((field) => `${field[0]}:${field.slice(1)}`)
        .join(' | ')}}`;
    case 'D': {
      if (body[0] === 0x50 || body[0] === 0x53) return `Describe ${body.toString().slice(0, -1)}`;
      const fields: string[] = [];
      for (let at = 2, n = body.readInt16BE(0); n > 0; n--) {
        const length = body.readInt32BE(at);
        fields.push(length < 0 ? 'null' : body.toString('utf8', at + 4, at + 4 + length));
        at += 4 + Math.max(0, length);
      }
      return `D[${fields.join()}]`;
    }
    case 'R':
      return `R${body.readInt32BE(0)}`;
    case 'T':
    case 'K':
    case 't':
    case 'B':
      return type;
    default:
      return body.length === 0 ? type : `${type} ${body.toString().replace(/\0+$/, '').replaceAll('\0', '·')}`;
  }
}
