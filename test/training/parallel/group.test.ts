/** Sums and collections over ranks, with all ranks in one process; team.test.ts has real ones. */
import { randomUUID } from "node:crypto";
import { tmpdir } from "node:os";
import fc from "fast-check";
import { afterEach, describe, expect, test } from "vitest";
import { SomaError } from "../../../base/errors.ts";
import { Group, groupBytes } from "../../../training/parallel/group.ts";
import type { Rendezvous } from "../../../training/parallel/rendezvous.ts";
import { shareOf } from "../../../training/parallel/share.ts";
import { SharedMemory } from "../../../training/parallel/shared-memory.ts";

const open: SharedMemory[] = [];
afterEach(() => {
  for (const memory of open.splice(0)) memory.close();
});

/** Ranks of one process that share real memory and meet in it. */
function groupsOf(size: number, slotLength: number): readonly Group[] {
  const memory = SharedMemory.create(groupBytes(size, slotLength), `soma-test-${randomUUID()}`);
  open.push(memory);
  let here: { word: string; go: (words: readonly string[]) => void; rank: number }[] = [];
  const rendezvous = (rank: number): Rendezvous => ({
    rank,
    size,
    meet: (word) =>
      new Promise((go) => {
        here.push({ word, go, rank });
        if (here.length < size) return;
        const all = here.toSorted((a, b) => a.rank - b.rank);
        here = [];
        for (const one of all) one.go(all.map((other) => other.word));
      }),
  });
  return Array.from({ length: size }, (_, rank) => new Group(rendezvous(rank), memory, slotLength));
}

const float32 = fc.float({ noNaN: true, noDefaultInfinity: true });
/** One array for each of 1–5 ranks, all of one length. */
const addends = fc.tuple(fc.integer({ min: 1, max: 5 }), fc.nat(40)).chain(([size, length]) =>
  fc.array(fc.array(float32, { minLength: length, maxLength: length }), {
    minLength: size,
    maxLength: size,
  }),
);

describe("a share", () => {
  test("shares cover everything once, in order, and differ by one at most", () => {
    fc.assert(
      fc.property(fc.nat(1000), fc.integer({ min: 1, max: 70 }), (count, size) => {
        const shares = Array.from({ length: size }, (_, rank) => shareOf(count, { rank, size }));
        expect(shares[0]?.begin).toBe(0);
        expect(shares.at(-1)?.end).toBe(count);
        const lengths = shares.map(({ begin, end }) => end - begin);
        shares.slice(1).forEach(({ begin }, i) => {
          expect(begin).toBe(shares[i]?.end);
        });
        expect(Math.max(...lengths) - Math.min(...lengths)).toBeLessThanOrEqual(1);
      }),
    );
  });
});

describe("a group", () => {
  test("sums are added in rank order in float32, the same bits on every rank, whatever the slot", async () => {
    await fc.assert(
      fc.asyncProperty(addends, fc.integer({ min: 1, max: 50 }), async (given, slotLength) => {
        const inputs = given.map((values) => Float32Array.from(values));
        const groups = groupsOf(inputs.length, slotLength);
        const sums = inputs.map((input) => input.slice());
        await Promise.all(groups.map((group, rank) => group.sum(sums[rank] ?? new Float32Array())));
        const expected = new Float32Array(inputs[0]?.length ?? 0);
        for (let i = 0; i < expected.length; i++) {
          let sum = inputs[0]?.[i] ?? 0;
          for (const other of inputs.slice(1)) sum = Math.fround(sum + (other[i] ?? 0));
          expected[i] = sum;
        }
        for (const sum of sums) expect(sum).toEqual(expected);
      }),
      { numRuns: 60 },
    );
  });

  test("what each rank gives arrives everywhere in rank order, whatever the lengths and the slot", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(float32, { maxLength: 30 }), { minLength: 1, maxLength: 5 }),
        fc.integer({ min: 1, max: 40 }),
        async (given, slotLength) => {
          const inputs = given.map((values) => Float32Array.from(values));
          const groups = groupsOf(inputs.length, slotLength);
          const all = await Promise.all(
            groups.map((group, rank) => group.gather(inputs[rank] ?? new Float32Array())),
          );
          for (const gathered of all) expect(gathered).toEqual(inputs);
        },
      ),
      { numRuns: 60 },
    );
  });

  test("operations one after another do not disturb each other", async () => {
    const groups = groupsOf(3, 4);
    const seen = await Promise.all(
      groups.map(async (group, rank) => {
        const log: (readonly number[])[] = [];
        for (let turn = 0; turn < 20; turn++) {
          const gathered = await group.gather(new Float32Array(turn % 7).fill(rank + turn));
          log.push(gathered.flatMap((values) => [...values]));
          const sum = new Float32Array(1 + (turn % 9)).fill(10 ** rank);
          await group.sum(sum);
          log.push([...sum]);
        }
        return log;
      }),
    );
    const expected = Array.from({ length: 20 }, (_, turn) => [
      [0, 1, 2].flatMap((rank) => new Array<number>(turn % 7).fill(rank + turn)),
      new Array<number>(1 + (turn % 9)).fill(111),
    ]).flat();
    for (const log of seen) expect(log).toEqual(expected);
  });

  test("the leader's word is heard by all", async () => {
    const heard = await Promise.all(
      groupsOf(3, 1).map((group) => group.hear(group.rank === 0 ? "go" : undefined)),
    );
    expect(heard).toEqual(["go", "go", "go"]);
  });

  test("ranks that hold different things are told which one differs", async () => {
    const outcomes = await Promise.allSettled(
      groupsOf(3, 1).map((group) => group.agree(group.rank === 2 ? "other" : "same")),
    );
    for (const outcome of outcomes) {
      expect(outcome).toMatchObject({ status: "rejected", reason: { code: "WORKERS_DIFFER" } });
      expect(String((outcome as PromiseRejectedResult).reason)).toContain("worker 3 of 3");
    }
  });
});

describe("shared memory", () => {
  test("is of zeros, and holds what is written by position", () => {
    const memory = SharedMemory.create(3 * 2 ** 20 + 12, `soma-test-${randomUUID()}`);
    open.push(memory);
    const all = new Float32Array(3 * 2 ** 18 + 3).fill(1);
    memory.read(all, 0);
    expect(all.every((value) => value === 0)).toBe(true);
    memory.write(Float32Array.of(1.5, -2), 8);
    const some = new Float32Array(4);
    memory.read(some, 4);
    expect([...some]).toEqual([0, 1.5, -2, 0]);
    expect(() => {
      memory.read(new Float32Array(2), 3 * 2 ** 20 + 8);
    }).toThrow(/ends before/);
  });

  test("goes to the next folder where the first has none, and says what it tried if none has room", () => {
    const memory = SharedMemory.create(16, `soma-test-${randomUUID()}`, ["/nowhere", tmpdir()]);
    memory.close();
    expect(() => SharedMemory.create(16, "x", ["/nowhere", "/neither"])).toThrow(SomaError);
    expect(() => SharedMemory.create(16, "x", ["/nowhere"])).toThrow(/1 MiB .*nowhere/);
  });
});
