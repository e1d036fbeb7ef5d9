/** Why a JSON body was not taken; for the caller. */
export class JsonBodyError extends Error {}

const MAX_DEPTH = 256;

/**
 * Parses a JSON text as every parser would: one that names a member twice is refused, because the target might read the
 * other one, and so is one nested deeper than 256, or with a number that a double cannot hold.
 */
export function parseJsonBody(bytes: Uint8Array): unknown {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new JsonBodyError('it is not valid UTF-8');
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new JsonBodyError('it is not valid JSON');
  }
  refuseAmbiguous(text);
  return value;
}

/** Walks a text that is known to be valid JSON. */
function refuseAmbiguous(text: string): void {
  const members: (Set<string> | undefined)[] = [];
  for (let at = 0; at < text.length; at++) {
    switch (text[at]) {
      case '{':
      case '[':
        if (members.push(text[at] === '{' ? new Set() : undefined) > MAX_DEPTH)
          throw new JsonBodyError(`it is nested deeper than ${MAX_DEPTH}`);
        break;
      case '}':
      case ']':
        members.pop();
        break;
      case '"': {
        const end = endOfString(text, at);
        const names = members.at(-1);
        if (names && isName(text, end)) {
          const name = JSON.parse(text.slice(at, end)) as string;
          if (names.has(name)) throw new JsonBodyError(`it names the member ${JSON.stringify(name)} twice`);
          names.add(name);
        }
        at = end - 1;
        break;
      }
      default: {
        const number = /-?\d[\d.eE+-]*/y;
        number.lastIndex = at;
        const found = number.exec(text)?.[0];
        if (found === undefined) break;
        if (!Number.isFinite(Number(found)) || (/^-?\d+$/.test(found) && !Number.isSafeInteger(Number(found)))) {
          throw new JsonBodyError(`the number ${found.slice(0, 32)} is larger than can be judged exactly`);
        }
        at += found.length - 1;
      }
    }
  }
}

function endOfString(text: string, start: number): number {
  let at = start + 1;
  while (text[at] !== '"') at += text[at] === '\\' ? 2 : 1;
  return at + 1;
}

function isName(text: string, end: number): boolean {
  let at = end;
  while (/\s/.test(text[at] ?? '')) at++;
  return text[at] === ':';
}
