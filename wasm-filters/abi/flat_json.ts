// One flat JSON object of strings, numbers and words, as a plugin's configuration is written by the generator; so it is read without mercy.

export class Scanner {
  position: i32 = 0;
  failed: bool = false;
  constructor(private text: string) {}

  get done(): bool {
    return this.position == this.text.length;
  }

  /** The next character after white space, or -1. */
  peek(): i32 {
    for (; this.position < this.text.length; this.position++) {
      const c = this.text.charCodeAt(this.position);
      if (c != 0x20 && c != 0x0a && c != 0x0d && c != 0x09) return c;
    }
    return -1;
  }

  take(c: i32): bool {
    if (this.peek() != c) return false;
    this.position++;
    return true;
  }

  expect(c: i32): void {
    if (!this.take(c)) this.failed = true;
  }

  /** Without escapes: no value here needs one. */
  string(): string {
    this.expect(0x22);
    const start = this.position,
      end = this.text.indexOf('"', start);
    if (this.failed || end < 0 || this.text.slice(start, end).includes('\\')) {
      this.failed = true;
      return '';
    }
    this.position = end + 1;
    return this.text.slice(start, end);
  }

  word(): string {
    this.peek();
    const start = this.position;
    while (this.position < this.text.length) {
      const c = this.text.charCodeAt(this.position);
      if (!((c >= 0x61 && c <= 0x7a) || (c >= 0x30 && c <= 0x39))) break;
      this.position++;
    }
    return this.text.slice(start, this.position);
  }
}

/** Reads the members of an object, each by its row of a table or not at all. */
export abstract class FlatObject {
  /** Reads the value of one member; false when there is no such member, or its value is out of its range. */
  protected abstract member(name: string, scanner: Scanner): bool;

  /** False when the text is not exactly one such object. */
  read(text: string): bool {
    const scanner = new Scanner(text);
    scanner.expect(0x7b);
    if (!scanner.take(0x7d)) {
      do {
        const name = scanner.string();
        scanner.expect(0x3a);
        if (scanner.failed || !this.member(name, scanner)) return false;
      } while (scanner.take(0x2c));
      scanner.expect(0x7d);
    }
    return !scanner.failed && scanner.peek() < 0;
  }
}
