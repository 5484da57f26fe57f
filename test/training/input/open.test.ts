import { expect, test } from "vitest";
import { inputWorkerCount } from "../../../training/input/open.ts";
import { BatchMemory } from "../../../training/input/memory.ts";
import { InputWait, percent } from "../../../training/input/wait.ts";

test("auto is one thread, but none on one core, for a few steps or seconds", () => {
  const auto = { inputWorkers: "auto" } as const;
  expect(inputWorkerCount({ ...auto, seconds: 150 }, 2, true)).toBe(1);
  expect(inputWorkerCount({ ...auto, steps: 1000 }, 64, true)).toBe(1);
  expect(inputWorkerCount({ ...auto, seconds: 150 }, 1, true)).toBe(0);
  expect(inputWorkerCount({ ...auto, steps: 2 }, 2, true)).toBe(0);
  expect(inputWorkerCount({ ...auto, steps: 1000, seconds: 1 }, 2, true)).toBe(0);
});

test("a number is taken at its word, where threads can be loaded at all", () => {
  expect(inputWorkerCount({ inputWorkers: 3, steps: 2 }, 1, true)).toBe(3);
  expect(inputWorkerCount({ inputWorkers: 0, seconds: 150 }, 64, true)).toBe(0);
  expect(inputWorkerCount({ inputWorkers: 3, seconds: 150 }, 64, false)).toBe(0);
});

test("arrays of a memory do not overlap, and after a reset lie in one buffer that stays", () => {
  const memory = new BatchMemory();
  const draw = (): readonly [Float32Array, Float32Array, Int32Array] => [
    memory.floats(7),
    memory.floats(1000),
    memory.ints(33),
  ];
  const fill = (arrays: ReturnType<typeof draw>): void => {
    arrays.forEach((array, i) => array.fill(i + 1));
    arrays.forEach((array, i) => {
      expect([...new Set(array)]).toEqual([i + 1]);
    });
  };
  fill(draw());
  memory.reset();
  const second = draw();
  expect(new Set(second.map(({ buffer }) => buffer)).size).toBe(1);
  fill(second);
  memory.reset();
  const third = draw();
  for (const array of third) expect(array.buffer).toBe(second[0].buffer);
});

test("the wait share is of step time alone, whole and since it was last asked", () => {
  let nowMs = 0;
  const wait = new InputWait(() => nowMs);
  expect(wait.share).toBe(0);
  const step = (waitMs: number, restMs: number): void => {
    wait.begin();
    nowMs += waitMs;
    wait.arrived();
    nowMs += restMs;
    wait.end();
    nowMs += 1000; // validation
  };
  step(10, 90);
  expect(wait.recentShare()).toBeCloseTo(0.1);
  step(30, 70);
  step(40, 60);
  expect(wait.recentShare()).toBeCloseTo(0.35);
  expect(wait.recentShare()).toBe(0);
  expect(wait.share).toBeCloseTo(80 / 300);
  expect(percent(wait.share)).toBe("27 %");
});
