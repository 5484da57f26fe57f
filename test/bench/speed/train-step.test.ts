import { expect, test, vi } from "vitest";
import { trainStepCommand } from "../../../bench/speed/train-step-command.ts";
import { startBackend, tf } from "../../../models/backend.ts";

const SMALL = {
  ...{ width: "16", layers: "2", heads: "2", tokens: "5", batch: "3", steps: "6", warmup: "1" },
  ...{ seed: "1", precision: "float32", json: true, quiet: true },
} as const;

async function printed(work: () => Promise<void>): Promise<Record<string, unknown>> {
  const write = vi.spyOn(process.stdout, "write").mockReturnValue(true);
  try {
    await work();
    expect(write).toHaveBeenCalledTimes(1);
    return JSON.parse(String(write.mock.calls[0]?.[0])) as Record<string, unknown>;
  } finally {
    write.mockRestore();
  }
}

test("one JSON document has the contract's figures, learns its batch, and leaves no tensors", async () => {
  await startBackend();
  const tensorsBefore = tf.memory().numTensors;
  const document = await printed(() => trainStepCommand(SMALL));
  expect(document).toMatchObject({
    engine: expect.any(String) as string,
    threads: expect.any(Number) as number,
    stepMs: expect.any(Number) as number,
    forwardMs: expect.any(Number) as number,
    tensorsLeaked: 0,
    ...{ width: 16, layers: 2, heads: 2, tokens: 5, batch: 3, steps: 6, precision: "float32" },
  });
  expect(document["peakRssMiB"]).toBeGreaterThan(30);
  const { first, last } = document["loss"] as { first: number; last: number };
  expect(last).toBeLessThan(first);
  expect(tf.memory().numTensors).toBe(tensorsBefore);
});

test("weights are those of the network that the peer has", async () => {
  const document = await printed(() => trainStepCommand(SMALL));
  const [D, L, N] = [16, 2, 5]; // width, layers, tokens
  const layer = 2 * 2 * D + (D * 3 * D + 3 * D) + (D * D + D) + (8 * D * D + 4 * D + D);
  expect(document["weights"]).toBe(768 * D + D + N * D + L * layer + 2 * D + D * 64 + 64);
});

test("a peer that is not installed is named, with the way to install it, and ours is measured all the same", async () => {
  const said = vi.spyOn(process.stderr, "write").mockReturnValue(true);
  const document = await printed(() => trainStepCommand({ ...SMALL, peer: "no-such-python" }));
  expect(String(said.mock.calls[0]?.[0])).toMatch(
    /no-such-python has no PyTorch.*pip install torch/,
  );
  said.mockRestore();
  expect(document["stepMs"]).toBeGreaterThan(0);
  expect(document["comparison"]).toMatchObject({ kind: "missing" });
});

test.each([
  [{ width: "16.5" }, /--width is "16.5"/],
  [{ steps: "0" }, /--steps is "0"/],
  [{ heads: "3" }, /--heads is "3"/],
  [{ precision: "half" }, /--precision is "half"/],
])("%j is refused", async (flags, message) => {
  await expect(trainStepCommand({ ...SMALL, ...flags })).rejects.toThrow(message);
});
