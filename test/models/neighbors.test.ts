import fc from "fast-check";
import { spawnSync } from "node:child_process";
import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createNeighborIndex, loadNeighborIndex } from "../../models/neighbors/create.ts";
import { loadHnswlib } from "../../models/neighbors/hnsw.ts";
import type { Metric, NeighborIndex } from "../../models/neighbors/neighbor-index.ts";
import { seededRng } from "../../tokenizers/random.ts";
import { transpileSources } from "../support/transpile.ts";

const kinds = ["exact", "hnsw"] as const;
const metrics = ["cosine", "l2"] as const;

let home: string;
beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), "soma-neighbors-"));
});
afterAll(() => rm(home, { recursive: true, force: true }));

/** `count` vectors around a few centres, as embeddings of classes lie. */
function clustered(count: number, dimension: number, purpose: string): Float32Array[] {
  const rng = seededRng(5, purpose);
  const draw = (): Float32Array => Float32Array.from({ length: dimension }, () => rng.unit() - 0.5);
  const centres = Array.from({ length: 12 }, draw);
  return Array.from({ length: count }, () => {
    const centre = centres[rng.uniform(centres.length)];
    return draw().map((value, d) => 0.5 * value + (centre?.[d] ?? 0));
  });
}

function filled(
  kind: "exact" | "hnsw",
  metric: Metric,
  vectors: readonly Float32Array[],
): NeighborIndex {
  const index = createNeighborIndex(vectors[0]?.length ?? 1, { kind, metric });
  vectors.forEach((vector, label) => {
    index.add(vector, label);
  });
  return index;
}

/** Every vector scored and sorted: the definition, slow and plain. */
function dumbSearch(
  vectors: readonly Float32Array[],
  query: Float32Array,
  count: number,
  metric: Metric,
): number[] {
  const dot = (a: Float32Array, b: Float32Array): number =>
    a.reduce((sum, value, d) => sum + value * (b[d] ?? 0), 0);
  const distance = (v: Float32Array): number =>
    metric === "l2"
      ? v.reduce((sum, value, d) => sum + (value - (query[d] ?? 0)) ** 2, 0)
      : -dot(v, query) / Math.sqrt(dot(v, v) * dot(query, query));
  return vectors
    .map((vector, label) => ({ label, far: distance(vector) }))
    .sort((a, b) => a.far - b.far || a.label - b.label)
    .slice(0, count)
    .map(({ label }) => label);
}

// The addon is compiled by set-up where it can be; where it is not, only the exact index can be tested.
const testable = kinds.filter((kind) => kind === "exact" || typeof loadHnswlib() !== "string");

describe.each(testable.flatMap((kind) => metrics.map((metric) => ({ kind, metric }))))(
  "the $kind index under $metric",
  ({ kind, metric }) => {
    test("finds every vector it holds, as its own nearest, at the best score", () => {
      const vectors = clustered(300, 16, "own");
      const index = filled(kind, metric, vectors);
      expect(index.size).toBe(300);
      vectors.forEach((vector, label) => {
        const [nearest] = index.search(vector, 1);
        expect(nearest?.label).toBe(label);
        expect(nearest?.score).toBeCloseTo(metric === "cosine" ? 1 : 0, 3);
      });
    });

    test("gives scores from near to far, and no more neighbours than it holds", () => {
      const vectors = clustered(50, 8, "order");
      const index = filled(kind, metric, vectors);
      const found = index.search(clustered(1, 8, "query")[0] ?? new Float32Array(8), 80);
      expect(found).toHaveLength(50);
      expect(new Set(found.map(({ label }) => label)).size).toBe(50);
      const scores = found.map(({ score }) => score);
      expect(scores).toEqual([...scores].sort((a, b) => b - a));
    });

    test("an empty one finds nothing", () => {
      expect(
        createNeighborIndex(4, { kind, metric }).search(Float32Array.of(1, 0, 0, 0), 3),
      ).toEqual([]);
    });

    test("refuses what the addon would take without a word", () => {
      const index = filled(kind, metric, [Float32Array.of(1, 2, 3)]);
      const bad: [Float32Array, number, string][] = [
        [Float32Array.of(1, 2), 1, "BAD_VECTOR"],
        [Float32Array.of(1, 2, 3, 4), 1, "BAD_VECTOR"],
        [Float32Array.of(1, NaN, 3), 1, "BAD_VECTOR"],
        [Float32Array.of(1, Infinity, 3), 1, "BAD_VECTOR"],
        [Float32Array.of(1, 2, 3), -1, "BAD_LABEL"],
        [Float32Array.of(1, 2, 3), 0.5, "BAD_LABEL"],
        [Float32Array.of(1, 2, 3), 2 ** 32, "BAD_LABEL"],
        [Float32Array.of(1, 2, 3), 0, "BAD_LABEL"],
      ];
      for (const [vector, label, code] of bad) {
        expect(() => {
          index.add(vector, label);
        }).toThrow(expect.objectContaining({ code }));
      }
      expect(index.size).toBe(1);
      expect(() => index.search(Float32Array.of(1, NaN, 0), 1)).toThrow(/not finite/);
      expect(() => index.search(Float32Array.of(1, 2), 1)).toThrow(/2 values/);
    });

    test("what is saved is loaded, by either kind, with equal answers", async () => {
      const vectors = clustered(200, 8, "saved");
      const index = filled(kind, metric, vectors);
      const folder = join(home, `${kind}-${metric}`);
      await index.save(folder);
      for (const loadedKind of testable) {
        const loaded = await loadNeighborIndex(folder, { kind: loadedKind });
        expect(loaded).toMatchObject({ kind: loadedKind, metric, dimension: 8, size: 200 });
        for (const query of clustered(10, 8, "queries")) {
          expect(loaded.search(query, 5).map(({ label }) => label)).toEqual(
            index.search(query, 5).map(({ label }) => label),
          );
        }
        loaded.add(Float32Array.of(9, 9, 9, 9, 9, 9, 9, 9), 777);
        expect(loaded.search(Float32Array.of(9, 9, 9, 9, 9, 9, 9, 9), 1)[0]?.label).toBe(777);
      }
    });
  },
);

test("the exact index agrees with scoring and sorting everything", () => {
  const value = fc.integer({ min: -3, max: 3 }); // few values, so that scores tie
  const vector = fc
    .array(value, { minLength: 3, maxLength: 3 })
    .filter((values) => values.some((v) => v !== 0))
    .map((values) => Float32Array.from(values));
  fc.assert(
    fc.property(
      fc.array(vector, { minLength: 1, maxLength: 30 }),
      vector,
      fc.integer({ min: 1, max: 10 }),
      (vectors, query, count) => {
        const found = filled("exact", "l2", vectors).search(query, count);
        expect(found.map(({ label }) => label)).toEqual(dumbSearch(vectors, query, count, "l2"));
      },
    ),
  );
  const vectors = clustered(500, 24, "cosine");
  const index = filled("exact", "cosine", vectors);
  for (const query of clustered(20, 24, "cosine queries")) {
    expect(index.search(query, 10).map(({ label }) => label)).toEqual(
      dumbSearch(vectors, query, 10, "cosine"),
    );
  }
});

describe.runIf(testable.includes("hnsw"))("the HNSW index", () => {
  test.each(metrics)("finds at least 98 % of the exact ten nearest under %s", (metric) => {
    const vectors = clustered(3000, 32, "recall");
    const exact = filled("exact", metric, vectors);
    const hnsw = filled("hnsw", metric, vectors);
    let shared = 0;
    const queries = clustered(100, 32, "recall queries");
    for (const query of queries) {
      const wanted = new Set(exact.search(query, 10).map(({ label }) => label));
      shared += hnsw.search(query, 10).filter(({ label }) => wanted.has(label)).length;
    }
    expect(shared / (10 * queries.length)).toBeGreaterThanOrEqual(0.98);
  });

  test("a damaged or missing graph is rebuilt, told once, and answers as before", async () => {
    const vectors = clustered(200, 8, "rebuilt");
    const index = filled("hnsw", "cosine", vectors);
    const saved = join(home, "rebuilt");
    await index.save(saved);
    const graph = await readFile(join(saved, "graph.hnsw"));
    for (let i = 0; i < 21; i++) {
      const copy = join(home, `rebuilt-${i}`);
      await cp(saved, copy, { recursive: true });
      const path = join(copy, "graph.hnsw");
      if (i === 20) await rm(path);
      else {
        const bad = Uint8Array.from(graph);
        const at = Math.floor((i * graph.length) / 20);
        bad[at] = (bad[at] ?? 0) ^ 0x40;
        await writeFile(path, bad);
      }
      const warnings: string[] = [];
      const warn = (sentence: string): void => void warnings.push(sentence);
      const loaded = await loadNeighborIndex(copy, { kind: "hnsw", warn });
      expect(warnings).toEqual([
        `${path} is missing or damaged; the index is rebuilt from its vectors`,
      ]);
      const query = vectors[i] ?? new Float32Array(8);
      expect(loaded.search(query, 3)).toEqual(index.search(query, 3));
    }
  });
});

test("damaged vectors are refused as corrupt, naming the file", async () => {
  const saved = join(home, "damaged");
  await filled("exact", "cosine", clustered(20, 8, "damaged")).save(saved);
  for (const file of ["index.json", "vectors.safetensors"]) {
    const bytes = await readFile(join(saved, file));
    for (let i = 0; i < 10; i++) {
      const copy = join(home, `damaged-${file}-${i}`);
      await cp(saved, copy, { recursive: true });
      await writeFile(join(copy, file), bytes.subarray(0, Math.floor((bytes.length * i) / 10)));
      await expect(loadNeighborIndex(copy, { kind: "exact" })).rejects.toMatchObject({
        exitCode: 5,
        message: expect.stringContaining(join(copy, file)) as string,
      });
    }
  }
});

test("without the addon the exact index stands in, and says so once a process", async () => {
  const program = await transpileSources();
  const script = `
    import Module from "node:module";
    const load = Module._load;
    Module._load = (name, ...rest) => {
      if (name === "hnswlib-node") throw new Error("Cannot find the addon");
      return load(name, ...rest);
    };
    const { createNeighborIndex } = await import("./models/neighbors/create.js");
    for (let i = 0; i < 3; i++) {
      const index = createNeighborIndex(2);
      index.add(Float32Array.of(1, 2), 5);
      console.log(index.kind, index.search(Float32Array.of(1, 2), 1)[0].label);
    }
    try {
      createNeighborIndex(2, { kind: "hnsw" });
    } catch (error) {
      console.log(error.code);
    }`;
  await writeFile(join(program, "without-addon.mjs"), script);
  const child = spawnSync(process.execPath, [join(program, "without-addon.mjs")], {
    encoding: "utf8",
    env: { ...process.env, NODE_NO_WARNINGS: "1" },
  });
  await rm(program, { recursive: true });
  expect(child.stdout).toBe("exact 5\nexact 5\nexact 5\nNO_HNSW\n");
  expect(child.stderr.match(/the HNSW addon is not compiled/g)).toHaveLength(1);
});
