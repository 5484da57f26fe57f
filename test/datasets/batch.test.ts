import fc from "fast-check";
import { expect, test } from "vitest";
import { byGroup, GroupSampler, pairsOf } from "../../datasets/batch.ts";
import type { Example } from "../../datasets/dataset.ts";

const groupsOf = (count: number): string[] => Array.from({ length: count }, (_, i) => `g${i}`);
const shape = fc.record({
  count: fc.integer({ min: 1, max: 40 }),
  batchSize: fc.integer({ min: 1, max: 50 }),
  seed: fc.integer({ min: 0, max: 1000 }),
});

test("a pass gives no group twice, and all but less than one batch of them", () => {
  fc.assert(
    fc.property(shape, ({ count, batchSize, seed }) => {
      const sampler = new GroupSampler(groupsOf(count), seed, batchSize);
      const pass = Array.from({ length: sampler.batchesPerPass }, () => sampler.next()).flat();
      expect(new Set(pass).size).toBe(pass.length);
      expect(count - pass.length).toBeLessThan(Math.min(batchSize, count));
      expect(sampler.state()).toEqual({ pass: 1, position: 0 });
    }),
  );
});

test("a restored sampler goes on exactly as the unbroken one", () => {
  fc.assert(
    fc.property(shape, fc.nat(30), ({ count, batchSize, seed }, stopAfter) => {
      const unbroken = new GroupSampler(groupsOf(count), seed, batchSize);
      for (let i = 0; i < stopAfter; i++) unbroken.next();
      const saved: unknown = JSON.parse(JSON.stringify(unbroken.state()));
      const resumed = new GroupSampler(groupsOf(count), seed, batchSize);
      resumed.restore(saved as ReturnType<GroupSampler["state"]>);
      for (let i = 0; i < 20; i++) expect(resumed.next()).toEqual(unbroken.next());
    }),
  );
});

test("the batch of a step is the one that counting up to it gives", () => {
  fc.assert(
    fc.property(shape, ({ count, batchSize, seed }) => {
      const counted = new GroupSampler(groupsOf(count), seed, batchSize);
      const asked = new GroupSampler(groupsOf(count), seed, batchSize);
      const steps = Array.from({ length: 15 }, (_, step) => [step, counted.next()] as const);
      for (const [step, batch] of steps.reverse()) expect(asked.at(step)).toEqual(batch);
    }),
  );
});

test("passes are shuffled anew, and another seed shuffles otherwise", () => {
  const first = new GroupSampler(groupsOf(100), 1, 100);
  const [one, two] = [first.next(), first.next()];
  expect(one).not.toEqual(two);
  expect(new GroupSampler(groupsOf(100), 2, 100).next()).not.toEqual(one);
});

test("a state that this sampler can never be in is refused", () => {
  const sampler = new GroupSampler(groupsOf(10), 0, 4);
  expect(() => {
    sampler.restore({ pass: 0, position: 2 });
  }).toThrow(/beyond the end/);
  expect(() => {
    sampler.restore({ pass: 0.5, position: 0 });
  }).toThrow(/a pass is a count/);
});

test("a group of n examples has n·(n − 1) ordered pairs of two different ones", () => {
  fc.assert(
    fc.property(fc.array(fc.nat(5), { maxLength: 25 }), (groups) => {
      const examples = groups.map((group, i): Example => ({
        id: `${i}`,
        group: `${group}`,
        split: "train",
        text: "t",
      }));
      const pairs = pairsOf(examples);
      const sizes = [...byGroup(examples).values()].map((members) => members.length);
      expect(pairs).toHaveLength(sizes.reduce((sum, n) => sum + n * (n - 1), 0));
      for (const { group, first, second } of pairs) {
        expect([first.group, second.group]).toEqual([group, group]);
        expect(first).not.toBe(second);
      }
    }),
  );
});
