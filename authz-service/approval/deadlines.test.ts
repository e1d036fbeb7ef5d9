import fc from 'fast-check';
import { expect, it } from 'vitest';
import { Deadlines, type Due } from './deadlines.ts';

it('has the earliest first after any puts, moves and removals, and keeps none that was removed', () => {
  const action = fc.record({
    member: fc.nat(19),
    due: fc.oneof({ weight: 3, arbitrary: fc.nat(100) }, fc.constant(Number.POSITIVE_INFINITY)),
  });
  fc.assert(
    fc.property(fc.array(action, { maxLength: 200 }), (actions) => {
      const deadlines = new Deadlines<Due>();
      const members = Array.from({ length: 20 }, (): Due => ({ due: 0, place: -1 }));
      const model = new Map<Due, number>();
      for (const { member, due } of actions) {
        const chosen = members[member] as Due;
        deadlines.set(chosen, due);
        if (due === Number.POSITIVE_INFINITY) model.delete(chosen);
        else model.set(chosen, due);
        expect(deadlines.size).toBe(model.size);
        expect(deadlines.first?.due).toBe(model.size === 0 ? undefined : Math.min(...model.values()));
      }
      const drained: number[] = [];
      for (let first = deadlines.first; first; first = deadlines.first) {
        drained.push(first.due);
        deadlines.set(first, Number.POSITIVE_INFINITY);
      }
      expect(drained).toEqual([...model.values()].sort((a, b) => a - b));
    }),
  );
});
