import { expect, test } from "vitest";
import { sweepPlot } from "../../../bench/plots/sweep-plot.ts";

const OPTIONS = { title: "Search", objective: "mrr", budgets: ["5 steps", "10 steps"] };

test("a sweep is drawn with a marker a run, a cross for one that failed, and a ring around each run of the winner", () => {
  const svg = sweepPlot({
    ...OPTIONS,
    points: [
      { trial: 0, rung: 0, value: 3 },
      { trial: 1, rung: 0, value: undefined },
      { trial: 2, rung: 0, value: 5 },
      { trial: 2, rung: 1, value: 6 },
    ],
    best: 2,
  });
  expect(svg?.match(/>×</g)).toHaveLength(1);
  expect(svg?.match(/r="8"/g)).toHaveLength(2);
  expect(svg).toContain(">10 steps<");
});

test("a sweep of which nothing ended well has no drawing", () => {
  const points = [{ trial: 0, rung: 0, value: undefined }];
  expect(sweepPlot({ ...OPTIONS, points, best: undefined })).toBeUndefined();
});
