/** The gradient of several processes, each with its rows, is the gradient of one process with all of them. */
import { createHash, randomUUID } from "node:crypto";
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { present } from "../../../base/errors.ts";
import { startBackend, tf } from "../../../models/backend.ts";
import { computeGradients, takeToHost } from "../../../training/gradients.ts";
import { onHost } from "../../../training/optimizer.ts";
import { Group, groupBytes } from "../../../training/parallel/group.ts";
import { SharedMemory } from "../../../training/parallel/shared-memory.ts";
import { spreadGradients } from "../../../training/parallel/spread.ts";
import { Team } from "../../../training/parallel/team.ts";
import { SpreadStep, type SpreadCase } from "../../support/spread-step.ts";
import { transpileSources } from "../../support/transpile.ts";

/** Makes the same step, and tells the digest of the gradient that it comes to. */
const MEMBER = `
import { createHash } from "node:crypto";
import { startBackend } from "./models/backend.js";
import { Group } from "./training/parallel/group.js";
import { joinTeam } from "./training/parallel/member.js";
import { MEMORY_FD } from "./training/parallel/rendezvous.js";
import { SharedMemory } from "./training/parallel/shared-memory.js";
import { spreadGradients } from "./training/parallel/spread.js";
import { SpreadStep } from "./test/support/spread-step.js";
joinTeam(async (rendezvous, job) => {
  await startBackend();
  const { rank, size } = rendezvous;
  const group = new Group(rendezvous, new SharedMemory(MEMORY_FD));
  const step = new SpreadStep(job);
  const { arrays } = await spreadGradients(step.steps(rank, size), step.encoder, step.parameters, group);
  const hash = createHash("sha256");
  for (const values of arrays.values()) hash.update(values);
  await rendezvous.meet(hash.digest("hex"));
});
`;

// Processes that wait for each other take their time where others want the same cores.
vi.setConfig({ testTimeout: 240_000 });

let program: string;
beforeAll(async () => {
  await startBackend();
  program = await transpileSources(["test/support/spread-step.ts"]);
  await writeFile(join(program, "member.js"), MEMBER);
});
afterAll(() => rm(program, { recursive: true, force: true }));

const CASES: readonly (readonly [string, number, SpreadCase])[] = [
  ["two processes", 2, { groups: 5, accumulate: 1, loss: "infonce" }],
  ["three, over two batches", 3, { groups: 4, accumulate: 2, loss: "sigmoid" }],
  ["three, of which one has no pictures", 3, { groups: 1, accumulate: 1, loss: "sigmoid" }],
];

test.each(CASES)("%s: loss, parts and every gradient", async (_title, size, given) => {
  const step = new SpreadStep(given);
  const expected = computeGradients(step.steps(0, 1), step.encoder, step.parameters);
  const memory = SharedMemory.create(groupBytes(size), `soma-test-${randomUUID()}`);
  const entry = pathToFileURL(join(program, "member.js"));
  const team = new Team({ entry, size, memory, job: given, env: {} });
  try {
    const tensorCount = tf.memory().numTensors;
    const group = new Group(team, memory);
    const steps = step.steps(0, size);
    const actual = await spreadGradients(steps, step.encoder, step.parameters, group);
    expect(tf.memory().numTensors).toBe(tensorCount);

    expect(actual.loss).toBeCloseTo(expected.loss, 5);
    expect(Object.keys(actual.parts)).toEqual(Object.keys(expected.parts));
    for (const [name, value] of Object.entries(expected.parts))
      expect(actual.parts[name], name).toBeCloseTo(value, 5);
    expect([...actual.arrays.keys()]).toEqual([...expected.arrays.keys()]);
    // Both towers, and what the losses learn themselves.
    expect(actual.arrays.size).toBe(step.parameters.size);
    for (const [name, values] of takeToHost(expected.arrays)) {
      const found = onHost(present(actual.arrays.get(name), name));
      const scale = Math.max(1e-3, ...values.map(Math.abs));
      const gap = values.map((value, i) => value - (found[i] ?? Number.NaN));
      expect(Math.max(...gap.map(Math.abs)) / scale, name).toBeLessThan(1e-4);
    }
    const rows = step.steps(0, 1).reduce((sum, { exampleCount }) => sum + exampleCount, 0);
    expect(actual.exampleCount).toBe(rows);
    const hash = createHash("sha256");
    for (const values of actual.arrays.values()) hash.update(onHost(values));
    const digests = await team.meet(hash.digest("hex"));
    expect(digests).toHaveLength(size);
    expect(new Set(digests).size).toBe(1);
  } finally {
    await team.close();
    memory.close();
    step.dispose();
  }
});
