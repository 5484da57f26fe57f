/** A thread that draws batches must start in a moment: it may load no tensors and no decoder. */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { OBJECTIVES } from "../../../training/objectives/registry.ts";
import { SAMPLERS } from "../../../training/objectives/samplers.ts";
import { importsOf, resolve } from "../../support/house.ts";

/** Every file and package that runs when `entry` is loaded, each with the way to it. */
function loadedBy(entry: string): ReadonlyMap<string, readonly string[]> {
  const found = new Map<string, readonly string[]>();
  const visit = (path: string, way: readonly string[]): void => {
    if (found.has(path)) return;
    const here = [...way, path];
    found.set(path, here);
    if (!path.endsWith(".ts")) return;
    for (const { specifier, kind } of importsOf(path, readFileSync(path, "utf8"))) {
      if (kind === "type") continue;
      visit(specifier.startsWith(".") ? resolve(path, specifier) : specifier, here);
    }
  };
  visit(entry, []);
  return found;
}

const HEAVY = ["models/backend.ts", "tokenizers/image/decode.ts", "sharp"];

test.each(["training/input/worker.ts", "training/objectives/samplers.ts"])(
  "%s loads no tensors and no decoder, by whatever way",
  (entry) => {
    const loaded = loadedBy(entry);
    expect(HEAVY.flatMap((path) => loaded.get(path)?.join(" → ") ?? [])).toEqual([]);
    expect([...loaded.keys()].filter((path) => path.startsWith("@tensorflow/"))).toEqual([]);
  },
);

test("the walk sees what is loaded", () => {
  const loaded = loadedBy("training/input/worker.ts");
  for (const path of ["training/augment.ts", "training/objectives/pairing/sampler.ts"])
    expect([...loaded.keys()]).toContain(path);
  expect([...loadedBy("training/objectives/registry.ts").keys()]).toContain("models/backend.ts");
});

test("every objective's sampler is registered for threads under the objective's name", () => {
  expect(Object.keys(SAMPLERS).sort()).toEqual(Object.keys(OBJECTIVES).sort());
  for (const [name, { sampler }] of Object.entries(OBJECTIVES))
    expect(sampler).toBe(SAMPLERS[name as keyof typeof SAMPLERS]);
});
