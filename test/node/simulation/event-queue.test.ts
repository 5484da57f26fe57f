/** Events happen by time, and at one time in the order in which they were asked for. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { EventQueue } from "../../../node/simulation/event-queue.ts";

test("events come by time, those of one time in the order of asking", () => {
  fc.assert(
    fc.property(fc.array(fc.nat(20)), (times) => {
      const queue = new EventQueue();
      const happened: { at: number; order: number }[] = [];
      times.forEach((at, order) => {
        queue.at(at, () => happened.push({ at: queue.now, order }));
      });
      while (queue.step());
      const expected = times
        .map((at, order) => ({ at, order }))
        .sort((a, b) => a.at - b.at || a.order - b.order);
      expect(happened).toEqual(expected);
    }),
  );
});

test("what is asked for in an event, even for a time that is past, happens after it", () => {
  const queue = new EventQueue();
  const happened: string[] = [];
  queue.at(10, () => {
    happened.push("first");
    queue.at(3, () => happened.push(`late, at ${queue.now}`));
    queue.after(5, () => happened.push(`later, at ${queue.now}`));
  });
  while (queue.step());
  expect(happened).toEqual(["first", "late, at 10", "later, at 15"]);
});
