import { expect, test } from "vitest";
import { evaluateCommand } from "../../../bench/quality/evaluate-command.ts";

const FLAGS = { split: "test", floors: true };

test("a checkpoint that is not there is not found, with or without a dataset", async () => {
  for (const flags of [FLAGS, { ...FLAGS, dataset: "synthetic" }]) {
    await expect(evaluateCommand("no-such-run", flags)).rejects.toMatchObject({
      code: "NO_CHECKPOINT",
      exitCode: 3,
    });
  }
});

test("either a checkpoint or stored embeddings are judged, not both and not neither", async () => {
  for (const [checkpoint, flags] of [
    [undefined, FLAGS],
    ["a-run", { ...FLAGS, embeddings: ["a.jsonl"] }],
  ] as const) {
    await expect(evaluateCommand(checkpoint, flags)).rejects.toMatchObject({ exitCode: 2 });
  }
});
