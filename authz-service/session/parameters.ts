/** Values of a prepared statement's parameters as policy sees them. */
import { isUtf8 } from 'node:buffer';

export interface Parameter {
  readonly null: boolean;
  readonly binary: boolean;
  readonly value: Buffer;
}

/** Binary formats that are read, by the type's OID (pg_type.dat of PostgreSQL). */
const BINARY: Readonly<Record<number, (value: Buffer) => string | undefined>> = {
  16: (value) => (value.length === 1 ? String(value[0] !== 0) : undefined),
  20: (value) => (value.length === 8 ? String(value.readBigInt64BE()) : undefined),
  21: (value) => (value.length === 2 ? String(value.readInt16BE()) : undefined),
  23: (value) => (value.length === 4 ? String(value.readInt32BE()) : undefined),
  26: (value) => (value.length === 4 ? String(value.readUInt32BE()) : undefined),
  2950: (value) => (value.length === 16 ? value.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5') : undefined),
};
/** Types whose binary format is their text: text, varchar, bpchar, name, json, xml, "char", unknown. */
const TEXTS = new Set([25, 1043, 1042, 19, 114, 142, 18, 705]);

/**
 * @param types the parameters' types as they were declared; 0 or none where the server infers them
 * @returns undefined when a value in text format is no UTF-8
 */
export function parameterTexts(parameters: readonly Parameter[], types: readonly number[]): (string | null)[] | undefined {
  const texts: (string | null)[] = [];
  for (const [i, { null: isNull, binary, value }] of parameters.entries()) {
    if (isNull) texts.push(null);
    else if (!binary) {
      if (!isUtf8(value)) return undefined;
      texts.push(value.toString());
    } else {
      const type = types[i] ?? 0;
      const text = TEXTS.has(type) && isUtf8(value) ? value.toString() : BINARY[type]?.(value);
      texts.push(text ?? `\\x${value.toString('hex')}`);
    }
  }
  return texts;
}
