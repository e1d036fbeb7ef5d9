/** What falls due, earliest first: a binary heap whose members know their place, so that one which ends early leaves nothing behind. */

export interface Due {
  /** Unix milliseconds. Changed only by `Deadlines`. */
  due: number;
  /** The place in the heap, or -1. Changed only by `Deadlines`. */
  place: number;
}

export class Deadlines<T extends Due> {
  readonly #heap: T[] = [];

  get first(): T | undefined {
    return this.#heap[0];
  }

  get size(): number {
    return this.#heap.length;
  }

  /** Puts it in, or moves it; an infinite time takes it out. */
  set(member: T, due: number): void {
    if (due === Number.POSITIVE_INFINITY) {
      this.#remove(member);
      return;
    }
    member.due = due;
    if (member.place < 0) member.place = this.#heap.push(member) - 1;
    this.#settle(member);
  }

  #remove(member: T): void {
    if (member.place < 0) return;
    const last = this.#heap.pop() as T;
    const { place } = member;
    member.place = -1;
    if (last === member) return;
    last.place = place;
    this.#heap[place] = last;
    this.#settle(last);
  }

  #settle(member: T): void {
    const heap = this.#heap;
    const swap = (other: T): void => {
      const { place } = member;
      heap[other.place] = member;
      heap[place] = other;
      member.place = other.place;
      other.place = place;
    };
    for (
      let parent = heap[(member.place - 1) >> 1];
      member.place > 0 && parent && member.due < parent.due;
      parent = heap[(member.place - 1) >> 1]
    )
      swap(parent);
    for (;;) {
      const [left, right] = [heap[2 * member.place + 1], heap[2 * member.place + 2]];
      const child = right && left && right.due < left.due ? right : left;
      if (!child || child.due >= member.due) return;
      swap(child);
    }
  }
}
