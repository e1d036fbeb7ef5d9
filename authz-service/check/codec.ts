/**
 * The codec of `envoy.service.auth.v3.CheckRequest` and `CheckResponse`: only the fields that are read and written, by hand. A general one makes
 * an object of all that Envoy tells before it makes the one that is read, which costs more than judging does.
 */
import { BYTES, Reader, VARINT, Writer } from '../tap/wire.ts';
import type { CheckRequest, CheckResponse, HeaderOption, RawHeader } from './envoy_proto.ts';

const bytesTag = (field: number): number => (field << 3) | BYTES;
const numberTag = (field: number): number => (field << 3) | VARINT;

/** Reads each field that `take` knows; `take` says whether it did. */
function eachField(reader: Reader, take: (tag: number, reader: Reader) => boolean): void {
  while (!reader.done) {
    const tag = reader.tag();
    if (!take(tag, reader)) reader.skip(tag & 7);
  }
}

/** The one field of a message that is read, a message itself: a path of them is stepped down. */
function within(reader: Reader, tag: number, take: (reader: Reader) => void): void {
  while (!reader.done) {
    const found = reader.tag();
    if (found === tag) take(reader.message());
    else reader.skip(found & 7);
  }
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };
type Attributes = Mutable<NonNullable<CheckRequest['attributes']>>;
type Http = Mutable<NonNullable<NonNullable<Attributes['request']>['http']>>;
type Socket = { address?: string; port_value?: number };

/** @throws {WireError} when the bytes are no message; text that is not UTF-8 is none either. */
export function decodeCheckRequest(bytes: Uint8Array): CheckRequest {
  let attributes: Attributes | undefined;
  within(new Reader(bytes), bytesTag(1), (reader) => {
    attributes = attributesOf(reader);
  });
  return attributes ? { attributes } : {};
}

function attributesOf(reader: Reader): Attributes {
  const attributes: Attributes = {};
  const extensions: Record<string, string> = Object.create(null);
  eachField(reader, (tag, field) => {
    if (tag === bytesTag(1)) attributes.source = { address: { socket_address: socketOf(field.message()) } };
    else if (tag === bytesTag(4)) within(field.message(), bytesTag(2), (http) => (attributes.request = { http: httpOf(http) }));
    else if (tag === bytesTag(10)) putEntry(field.message(), extensions);
    else return false;
    return true;
  });
  attributes.context_extensions = extensions;
  return attributes;
}

/** Of a `Peer`: its `address.socket_address`. */
function socketOf(peer: Reader): Socket {
  const socket: Socket = {};
  within(peer, bytesTag(1), (address) =>
    within(address, bytesTag(1), (reader) =>
      eachField(reader, (tag, field) => {
        if (tag === bytesTag(2)) socket.address = field.string();
        else if (tag === numberTag(3)) socket.port_value = field.varint();
        else return false;
        return true;
      }),
    ),
  );
  return socket;
}

function httpOf(reader: Reader): Http {
  const http: Http = {};
  const headers: Record<string, string> = Object.create(null);
  const raw: RawHeader[] = [];
  while (!reader.done) {
    const tag = reader.tag();
    if (tag === bytesTag(2)) http.method = reader.string();
    else if (tag === bytesTag(3)) putEntry(reader.message(), headers);
    else if (tag === bytesTag(4)) http.path = reader.string();
    else if (tag === bytesTag(5)) http.host = reader.string();
    else if (tag === bytesTag(11)) http.body = reader.string();
    else if (tag === bytesTag(12)) http.raw_body = reader.bytes();
    else if (tag === bytesTag(13)) within(reader.message(), bytesTag(1), (header) => raw.push(rawHeaderOf(header)));
    else reader.skip(tag & 7);
  }
  http.headers = headers;
  http.header_map = { headers: raw };
  return http;
}

function rawHeaderOf(reader: Reader): RawHeader {
  const header: Mutable<RawHeader> = { key: '' };
  while (!reader.done) {
    const tag = reader.tag();
    if (tag === bytesTag(1)) header.key = reader.string();
    else if (tag === bytesTag(2)) header.value = reader.string();
    else if (tag === bytesTag(3)) header.raw_value = reader.bytes();
    else reader.skip(tag & 7);
  }
  return header;
}

/** One entry of a `map<string, string>`. */
function putEntry(reader: Reader, into: Record<string, string>): void {
  let [key, value] = ['', ''];
  while (!reader.done) {
    const tag = reader.tag();
    if (tag === bytesTag(1)) key = reader.string();
    else if (tag === bytesTag(2)) value = reader.string();
    else reader.skip(tag & 7);
  }
  into[key] = value;
}

const writer = new Writer();

export function encodeCheckResponse({ status, denied_response, ok_response, dynamic_metadata }: CheckResponse): Buffer {
  writer.reset();
  putMessage(1, () => putNumber(1, status.code));
  if (denied_response) {
    putMessage(2, () => {
      putMessage(1, () => putNumber(1, denied_response.status.code));
      for (const header of denied_response.headers) putHeader(2, header);
      putText(3, denied_response.body);
    });
  } else if (ok_response) {
    putMessage(3, () => {
      for (const header of ok_response.headers ?? []) putHeader(2, header);
      for (const name of ok_response.headers_to_remove ?? []) putItem(5, name);
    });
  }
  if (dynamic_metadata) putMessage(4, () => putStruct(dynamic_metadata.fields));
  return Buffer.from(writer.view());
}

/** `google.protobuf.Struct`, of texts. */
function putStruct(fields: Readonly<Record<string, { readonly stringValue: string }>>): void {
  for (const name of Object.keys(fields)) {
    putMessage(1, () => {
      putItem(1, name);
      // A Value is a oneof: an empty text in it is written too.
      putMessage(2, () => putItem(3, fields[name]?.stringValue ?? ''));
    });
  }
}

function putHeader(field: number, { header, append_action }: HeaderOption): void {
  putMessage(field, () => {
    putMessage(1, () => {
      putText(1, header.key);
      putText(2, header.value);
    });
    putNumber(3, append_action ?? 0);
  });
}

function putMessage(field: number, write: () => void): void {
  writer.varint(bytesTag(field));
  writer.message(write);
}

function putItem(field: number, text: string): void {
  writer.varint(bytesTag(field));
  writer.string(text);
}

/** Left out when it is empty, as protobuf has it. */
function putText(field: number, text: string): void {
  if (text !== '') putItem(field, text);
}

function putNumber(field: number, value: number): void {
  if (value === 0) return;
  writer.varint(numberTag(field));
  writer.varint(value);
}
