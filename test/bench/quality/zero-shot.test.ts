import { expect, test } from "vitest";
import { zeroShotAccuracy } from "../../../bench/quality/zero-shot.ts";
import { labelText } from "../../../datasets/label-text.ts";

test("a row is right if its own class is strictly nearest", () => {
  const similarities = Float32Array.of(
    ...[0.9, 0.1], // right
    ...[0.9, 0.1], // wrong
    ...[0.5, 0.5], // a tie counts against
  );
  expect(zeroShotAccuracy(similarities, ["a", "b", "a"], ["a", "b"])).toBeCloseTo(1 / 3);
});

test("a class that is not among the names is never right", () => {
  expect(zeroShotAccuracy(Float32Array.of(0.9, 0.1), ["c"], ["a", "b"])).toBe(0);
});

test("one class or no rows are no task", () => {
  expect(zeroShotAccuracy(Float32Array.of(1), ["a"], ["a"])).toBeUndefined();
  expect(zeroShotAccuracy(new Float32Array(), [], ["a", "b"])).toBeUndefined();
});

test("labels are written as words", () => {
  expect(labelText("smileys-emotion")).toBe("smileys emotion");
  expect(labelText("noun.animal")).toBe("noun animal");
  expect(labelText("--")).toBe("--");
});
