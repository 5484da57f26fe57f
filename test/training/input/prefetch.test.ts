/** Threads that draw ahead: the same batches as without them, and how it ends when one of them does. */
import { createHash } from "node:crypto";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import fc from "fast-check";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { InvariantError, SomaError } from "../../../base/errors.ts";
import type { Dataset } from "../../../datasets/dataset.ts";
import { loadImages } from "../../../datasets/images.ts";
import type { ImageStore } from "../../../datasets/image-store.ts";
import { makeSynthetic } from "../../../datasets/synthetic.ts";
import { SAMPLERS } from "../../../training/objectives/samplers.ts";
import { openSamplers, type DrawnStep, type InputJob } from "../../../training/input/job.ts";
import { openInput } from "../../../training/input/open.ts";
import { Prefetcher, type PrefetchOptions } from "../../../training/input/prefetch.ts";
import type { Input } from "../../../training/input/input.ts";
import { TINY_CONFIG } from "../../support/tiny-encoder.ts";
import { transpileSources } from "../../support/transpile.ts";

let program: string;
let dataset: Dataset;
let images: ImageStore;
beforeAll(async () => {
  program = await transpileSources();
  dataset = await makeSynthetic({ groupCount: 40 });
  images = await loadImages(dataset, dataset.examples, { maxPatches: 4 });
});
afterAll(() => rm(program, { recursive: true, force: true }));

const opened: Input[] = [];
afterEach(async () => {
  for (const input of opened.splice(0)) await input.close();
});

type Members = InputJob["members"];

const ALL: Members = [
  { name: "contrastive", settings: { views: 3, augment: { hide: 0.2 } } },
  { name: "pairing", settings: { images: 2, labels: 0.3 } },
  { name: "differential", settings: { modality: "text" } },
];

function jobOf(members: Members = ALL): InputJob {
  return {
    members,
    dataset,
    pictures: images.share(dataset.examples.map(({ id }) => id)),
    encoder: TINY_CONFIG,
    seed: 3,
    batchSize: 4,
  };
}

function prefetch(options: Partial<PrefetchOptions> = {}): Prefetcher {
  const input = new Prefetcher({
    job: jobOf(),
    stepOf: (ticket) => ticket,
    workers: 1,
    takes: 1,
    entry: pathToFileURL(join(program, "training/input/worker.js")),
    ...options,
  });
  opened.push(input);
  return input;
}

/** A thread whose whole program is `code`. */
const threadOf = (code: string): URL => new URL(`data:text/javascript,${encodeURIComponent(code)}`);

/** Each batch of each step by its shape and the hash of its arrays: comparing those is quick. */
function digestOf(steps: readonly DrawnStep[]): readonly string[] {
  return steps.flat(2).map((batch) => {
    const hash = createHash("sha256").update(batch.visible).update(batch.lengths);
    hash.update(batch.kind === "ids" ? batch.ids : batch.patches);
    const grids = batch.kind === "ids" ? [] : batch.grids;
    return `${batch.kind} ${batch.size}×${batch.units} ${JSON.stringify(grids)} ${hash.digest("hex")}`;
  });
}

test("batches are the same and in order, however many threads draw and wherever a run begins", async () => {
  const job = jobOf();
  const samplers = await openSamplers(job, SAMPLERS);
  await fc.assert(
    fc.asyncProperty(
      fc.record({
        workers: fc.integer({ min: 1, max: 3 }),
        takes: fc.integer({ min: 1, max: 3 }),
        first: fc.nat(50),
        overfitBatches: fc.option(fc.integer({ min: 1, max: 3 }), { nil: undefined }),
      }),
      async ({ workers, takes, first, overfitBatches }) => {
        const own = openInput({ samplers, job }, { first, overfitBatches, workers: 0, takes });
        const stepOf = (ticket: number): number => (first + ticket) % (overfitBatches ?? 1e9);
        const ahead = prefetch({ job, stepOf, workers, takes });
        for (let i = 0; i < 4; i++) {
          const expected = digestOf(await own.take(takes));
          expect(digestOf(await ahead.take(takes))).toEqual(expected);
        }
        await ahead.close();
      },
    ),
    { numRuns: 8 },
  );
});

test("batches that were taken stay as they are until the next ones are taken", async () => {
  const input = prefetch({ workers: 2, takes: 2 });
  for (let i = 0; i < 5; i++) {
    const taken = await input.take(2);
    const digest = digestOf(taken);
    await new Promise((resolve) => setTimeout(resolve, 20)); // the threads draw on
    expect(digestOf(taken)).toEqual(digest);
  }
});

test("batches lie in memory that the threads share: nothing was copied", async () => {
  const [drawn] = await prefetch().take(1);
  for (const batch of drawn?.flat() ?? [])
    expect(batch.visible.buffer).toBeInstanceOf(SharedArrayBuffer);
  expect(drawn?.flat()).toHaveLength(4);
});

test("a sampler's refusal in a thread is the refusal that this thread would give", async () => {
  const job = jobOf([{ name: "contrastive", settings: { vews: 3 } }]);
  const here: unknown = await openSamplers(job, SAMPLERS).catch((error: unknown) => error);
  const there: unknown = await prefetch({ job })
    .take(1)
    .catch((error: unknown) => error);
  expect(here).toBeInstanceOf(SomaError);
  expect(there).toBeInstanceOf(SomaError);
  if (!(here instanceof SomaError) || !(there instanceof SomaError)) return;
  expect(there.failure).toEqual(here.failure);
  expect(there.failure).toMatchObject({ code: "UNKNOWN_KEY", next: 'did you mean "views"?' });
});

test("a bug in a thread is a bug here, and says where", async () => {
  const job = { ...jobOf(), pictures: new Map() };
  const error: unknown = await prefetch({ job })
    .take(1)
    .catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(InvariantError);
  expect(String(error)).toMatch(/no picture of .* was loaded[^]*image-store\.js/);
});

test.each([
  ["that throws", `throw new Error("torn")`, /stopped: torn/],
  ["that ends", `process.exit(3)`, /ended with code 3/],
  ["that cannot be loaded", `import "./nowhere.js"`, /stopped: /],
])("a thread %s is lost, and training told what to do", async (_how, code, message) => {
  await expect(prefetch({ entry: threadOf(code) }).take(1)).rejects.toMatchObject({
    code: "INPUT_WORKER_LOST",
    kind: "failure",
    message: expect.stringMatching(message) as string,
    next: expect.stringContaining("--resume") as string,
  });
});

test("what was drawn before a thread was lost is still given out", async () => {
  const entry = threadOf(`
    import { parentPort } from "node:worker_threads";
    parentPort.on("message", ({ ticket }) => {
      if (ticket === 2) process.exit(0);
      parentPort.postMessage({ kind: "drawn", ticket, drawn: [] });
    });
  `);
  const input = prefetch({ entry, takes: 8 });
  await expect(input.take(2)).resolves.toEqual([[], []]);
  await expect(input.take(1)).rejects.toMatchObject({ code: "INPUT_WORKER_LOST" });
});

const HANGING = threadOf("for (;;);");

test("a thread that hangs is given up after a while", async () => {
  const input = prefetch({ entry: HANGING, waitMsMax: 50 });
  await expect(input.take(1)).rejects.toMatchObject({
    code: "INPUT_WORKER_SILENT",
    kind: "timedOut",
  });
});

test("an abort ends a wait with the signal's reason, and closing ends threads that hang at once", async () => {
  const controller = new AbortController();
  const input = prefetch({ entry: HANGING, workers: 2, signal: controller.signal });
  const taking = input.take(1);
  const reason = new Error("enough");
  controller.abort(reason);
  await expect(taking).rejects.toBe(reason);
  const startedMs = performance.now();
  await input.close();
  expect(performance.now() - startedMs).toBeLessThan(2000);
});
