import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { describeParts } from "../../node/doctor-command.ts";
import { diagnose, thisMachine, type Machine, type Part } from "../../node/runtime/doctor.ts";

/** A machine that has everything. */
const WHOLE: Machine = {
  nodeVersion: "v20.20.2",
  ask: async (program) => `${program} 1.0`,
  backend: async () => ({
    name: "native",
    detail: "TensorFlow 2.21.0",
    threads: 2,
    precision: "float32",
    gflops: 150,
    kernelCount: 24,
  }),
  hnsw: async () => ({ kind: "found", detail: "hnswlib addon" }),
  images: async () => ({ kind: "found", detail: "sharp 0.35.5" }),
  freeBytes: async () => 50e9,
  cacheFolder: "/var/cache/soma",
  workFolder: "/srv/soma",
};

function part(parts: readonly Part[], name: string): Part | undefined {
  return parts.find((each) => each.name === name);
}

describe("diagnose", () => {
  test("a whole machine has nothing to complain about", async () => {
    const { ok, parts } = await diagnose(WHOLE);
    expect(ok).toBe(true);
    expect(parts.filter(({ state }) => state !== "ok")).toEqual([]);
    expect(part(parts, "tensors")?.detail).toBe("TensorFlow 2.21.0, 2 threads, 150.0 GFLOP/s");
  });

  test.each<[string, Partial<Machine>, string, string]>([
    [
      "ffmpeg",
      { ask: async (name) => (name === "ffmpeg" ? undefined : "1.0") },
      "missing",
      "video",
    ],
    [
      "python3",
      { ask: async (name) => (name === "python3" ? undefined : "1") },
      "missing",
      "set-up",
    ],
    ["g++", { ask: async (name) => (name === "g++" ? undefined : "1.0") }, "missing", "compile"],
    [
      "neighbour index",
      { hnsw: async () => ({ kind: "absent", reason: "no addon" }) },
      "slower",
      "one by one",
    ],
    ["pictures", { images: async () => ({ kind: "absent", reason: "x" }) }, "broken", "picture"],
    ["Node", { nodeVersion: "v20.18.3" }, "broken", "does not run"],
    ["disk for the cache", { freeBytes: async () => 1e9 }, "missing", "run out"],
    ["disk for runs", { freeBytes: async () => undefined }, "missing", "kept"],
  ])(
    "a machine without %s is told what that costs and how to have it",
    async (name, lacks, state, cost) => {
      const { ok, parts } = await diagnose({ ...WHOLE, ...lacks });
      const found = part(parts, name);
      expect(found?.state).toBe(state);
      expect(found?.cost).toContain(cost);
      expect(found?.remedy).toMatch(/\w/);
      expect(ok).toBe(state !== "broken");
    },
  );

  test("a slower tensor backend is told with the reason that the backend gave", async () => {
    const { ok, backend, parts } = await diagnose({
      ...WHOLE,
      backend: async () => ({
        name: "wasm",
        detail: "tfjs on WebAssembly",
        threads: 1,
        precision: "float32",
        gflops: 9.26,
        kernelCount: 0,
        fallbackReason: "there is no C++ compiler (g++); install g++",
      }),
    });
    expect(ok).toBe(true);
    expect(backend.gflops).toBe(9.26);
    expect(part(parts, "tensors")).toMatchObject({
      state: "slower",
      detail: "tfjs on WebAssembly, 1 thread, 9.3 GFLOP/s",
      remedy: "there is no C++ compiler (g++); install g++",
    });
  });

  test("Node is judged by number, not by text", async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat({ max: 40 }), fc.nat({ max: 40 }), async (major, minor) => {
        const { ok } = await diagnose({ ...WHOLE, nodeVersion: `v${major}.${minor}.0` });
        expect(ok).toBe(major > 20 || (major === 20 && minor >= 19));
      }),
    );
  });
});

describe("describeParts", () => {
  test("lists every part, and below only what is not as it should be", async () => {
    const { parts } = await diagnose({ ...WHOLE, ask: async () => undefined });
    const [list = "", advice = ""] = describeParts(parts).split("\n\n");
    expect(list.split("\n")).toHaveLength(parts.length);
    expect(advice.split("\n").map((line) => line.split(":")[0])).toEqual([
      "ffmpeg",
      "python3",
      "g++",
    ]);
    expect(advice).toContain("no video");
  });
});

describe("thisMachine", () => {
  test("finds a program that is there, and not one that is not", async () => {
    const machine = thisMachine();
    expect(await machine.ask("node", ["--version"])).toBe(process.version);
    expect(await machine.ask("node", ["--no-such-option"])).toBeUndefined();
    expect(await machine.ask("soma-has-no-such-program", [])).toBeUndefined();
  });

  test("knows the room on a folder's disk even before the folder exists", async () => {
    const machine = thisMachine();
    const here = await machine.freeBytes(process.cwd());
    expect(here).toBeGreaterThan(0);
    expect(await machine.freeBytes(`${process.cwd()}/not/yet/made`)).toBeGreaterThan(0);
  });

  test("the tensor backend in force is started and measured, and pictures have a library", async () => {
    const { backend, parts } = await diagnose({ ...thisMachine(), ask: async () => "1.0" });
    expect(["native", "wasm", "cpu"]).toContain(backend.name);
    expect(backend.gflops).toBeGreaterThan(0);
    expect(part(parts, "pictures")?.detail).toMatch(/^sharp \d+\.\d+\.\d+, libvips \d+/);
  });
});
