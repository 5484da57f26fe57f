import { createHash } from "node:crypto";
import { mkdtemp, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { checkNativeFiles, kernelsObstacle, processorName } from "../../models/native-files.ts";

describe("the native files", () => {
  const binding = Buffer.from("a binding");
  const kernels = Buffer.from("some kernels");
  const sound = {
    tensorflow: "2.21.0",
    librarySizes: { "libtensorflow_cc.so.2": 3 },
    files: {
      "tfjs_binding.node": createHash("sha256").update(binding).digest("hex"),
      "kernels.node": createHash("sha256").update(kernels).digest("hex"),
    },
    platform: `${process.platform}-${process.arch}`,
    processor: processorName(),
  };

  /** A folder as set-up leaves it, with its TensorFlow, then damaged by `damage`. */
  async function folderWith(damage: (folder: string) => Promise<void>): Promise<string> {
    const folder = await mkdtemp(join(tmpdir(), "soma-native-"));
    await writeFile(join(folder, "libtensorflow_cc.so.2"), "abc");
    await writeFile(join(folder, "tfjs_binding.node"), binding);
    await writeFile(join(folder, "kernels.node"), kernels);
    await writeFile(join(folder, "soma.json"), JSON.stringify({ ...sound, libraries: folder }));
    await damage(folder);
    return folder;
  }

  test("are accepted as set-up left them", async () => {
    const folder = await folderWith(async () => undefined);
    expect(() => {
      checkNativeFiles(folder);
    }).not.toThrow();
  });

  const record = (changes: object) => (folder: string) =>
    writeFile(
      join(folder, "soma.json"),
      JSON.stringify({ ...sound, libraries: folder, ...changes }),
    );
  test.each<[string, (folder: string) => Promise<void>, RegExp]>([
    ["without a record", (f) => rm(join(f, "soma.json")), /not set up; run `npm run setup`/],
    ["with a torn record", (f) => writeFile(join(f, "soma.json"), '{"files"'), /not set up/],
    ["when set-up failed", record({ reason: "g++ is missing; install it" }), /^g\+\+ is missing/],
    ["built for another machine", record({ platform: "linux-s390x" }), /built for linux-s390x/],
    ["that name no binding", record({ files: {} }), /not set up/],
    [
      "with a torn binding",
      (f) => truncate(join(f, "tfjs_binding.node"), 4),
      /not what set-up built/,
    ],
    ["without the binding", (f) => rm(join(f, "tfjs_binding.node")), /not what set-up built/],
    ["with a torn TensorFlow", (f) => truncate(join(f, "libtensorflow_cc.so.2"), 1), /damaged/],
    ["without TensorFlow", (f) => rm(join(f, "libtensorflow_cc.so.2")), /is missing or damaged/],
  ])("are refused before loading %s", async (_title, damage, message) => {
    const folder = await folderWith(damage);
    expect(() => {
      checkNativeFiles(folder);
    }).toThrow(message);
  });

  test("without our own kernels are still accepted: all else runs", async () => {
    const folder = await folderWith((f) => rm(join(f, "kernels.node")));
    expect(() => {
      checkNativeFiles(folder);
    }).not.toThrow();
  });

  test("may load our own kernels as set-up built them", async () => {
    expect(kernelsObstacle(await folderWith(async () => undefined))).toBeUndefined();
  });

  test.each<[string, (folder: string) => Promise<void>, RegExp]>([
    ["torn", (f) => truncate(join(f, "kernels.node"), 4), /not what set-up built; run `npm run/],
    ["gone", (f) => rm(join(f, "kernels.node")), /not what set-up built/],
    [
      "that set-up did not build, of an older soma",
      record({ files: { "tfjs_binding.node": sound.files["tfjs_binding.node"] } }),
      /not built; run `npm run setup`/,
    ],
    [
      "that did not compile",
      record({ files: {}, kernelsReason: "kernels does not compile (error: …)" }),
      /does not compile/,
    ],
    [
      "compiled for another processor",
      record({ processor: "A processor from elsewhere 0123456789ab" }),
      /built for another processor \(A processor from elsewhere/,
    ],
  ])("never load kernels %s", async (_title, damage, message) => {
    expect(kernelsObstacle(await folderWith(damage))).toMatch(message);
  });
});
