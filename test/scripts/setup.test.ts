import { execFileSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, test, vi } from "vitest";
import { cacheDirectory } from "../../base/files.ts";
import { Clone, removeClones } from "../support/clone.ts";

afterEach(removeClones);

const NATIVE_RECORD = "node_modules/@tensorflow/tfjs-node-gpu/lib/napi-v8/soma.json";

describe("set-up", () => {
  test("a machine without Python and compiler gets a working program, and is told in one line each what that costs", async () => {
    const clone = new Clone("real");
    const { code, output } = await clone.setUp();
    expect(code).toBe(0);
    const lines = output.split("\n").filter((line) => line.includes("install"));
    expect(lines).toHaveLength(2);
    expect(lines.find((line) => line.includes("WebAssembly"))).toMatch(
      /no C\+\+ compiler.*apt-get install g\+\+/,
    );
    expect(lines.find((line) => line.includes("neighbours"))).toMatch(/no C\+\+ compiler/);
    expect(JSON.parse(clone.read(NATIVE_RECORD))).toMatchObject({
      reason: expect.stringContaining("install g++") as string,
    });
    expect(execFileSync(join(clone.root, "node_modules/.bin/soma"), { encoding: "utf8" })).toBe(
      "hello\n",
    );
  });

  test("a second run does nothing and says nothing", async () => {
    const clone = new Clone();
    await clone.setUp();
    const before = statSync(join(clone.root, "dist/.soma-build.json")).mtimeMs;
    const { code, output } = await clone.setUpAgain();
    expect({ code, output }).toEqual({ code: 0, output: "" });
    expect(statSync(join(clone.root, "dist/.soma-build.json")).mtimeMs).toBe(before);
  });

  test("a part that was missing is set up as soon as its tools appear", async () => {
    const clone = new Clone();
    await clone.setUp();
    expect(clone.compileCount).toBe(0);
    clone.installCompiler();
    const { output } = await clone.setUpAgain();
    expect(clone.compileCount).toBe(1); // hnswlib; the binding waits for TensorFlow
    expect(output).toMatch(/python3 is missing; install python3 with pip/);
  });

  test("the program follows its sources: what changes is compiled, what goes is removed, pages are copied", async () => {
    const clone = new Clone("real");
    await clone.setUp();
    expect(clone.read("dist/base/page.html")).toBe("<p>hello</p>\n");
    clone.write("base/other.ts", 'export const word: string = "changed";\n');
    clone.write("cli.ts", clone.read("cli.ts").replace("word.ts", "other.ts"));
    rmSync(join(clone.root, "base/word.ts"));
    expect((await clone.setUpAgain()).output).toContain("compiling the program: done");
    expect((await clone.node("dist/cli.js")).output).toBe("changed\n");
    expect(
      readdirSync(join(clone.root, "dist/base")).filter((name) => name.startsWith("word")),
    ).toEqual([]);
  });

  test("a program that is gone is built again", async () => {
    const clone = new Clone("real");
    await clone.setUp();
    rmSync(join(clone.root, "dist"), { recursive: true });
    await clone.setUpAgain();
    expect((await clone.node("dist/cli.js")).output).toBe("hello\n");
  });

  test("sources that do not compile end set-up with the compiler's words", async () => {
    const clone = new Clone("real");
    clone.write("base/word.ts", "export const word: string = 1;\n");
    const { code, output } = await clone.setUp();
    expect(code).toBe(1);
    expect(output).toMatch(/the sources do not compile:\nbase\/word\.ts\(1,14\): error TS2322/);
    expect((await clone.setUp()).code).toBe(1); // and it is not taken for done
  });

  test("npm that fails ends set-up with its words", async () => {
    const clone = new Clone();
    rmSync(join(clone.root, "node_modules/.package-lock.json"));
    clone.install("npm", 'echo "npm error 404 no such package" >&2; exit 1');
    const { code, output } = await clone.setUp();
    expect(code).toBe(1);
    expect(output).toContain("npm ci failed:\nnpm error 404 no such package");
  });

  test("a lock file that changed is installed again", async () => {
    const clone = new Clone();
    await clone.setUp();
    clone.write(
      "package-lock.json",
      JSON.stringify({ packages: { "": {}, a: { version: "1.0.0" } } }),
    );
    clone.install("npm", `echo "$@" > "${clone.bin}/npm-arguments"`);
    expect((await clone.setUpAgain()).output).toContain("installing npm packages: done");
    expect(readFileSync(join(clone.bin, "npm-arguments"), "utf8")).toMatch(/^ci /);
    expect((await clone.setUpAgain()).output).toBe("");
  });
});

test.each([
  { HOME: "/home-of-tests" },
  { HOME: "/home-of-tests", XDG_CACHE_HOME: "/caches" },
  { HOME: "/home-of-tests", XDG_CACHE_HOME: "" },
  { HOME: "/home-of-tests", XDG_CACHE_HOME: "/caches", SOMA_CACHE: "/elsewhere" },
])("set-up keeps things where the program looks for them, with %o", (variables) => {
  const script =
    'import { cacheDirectory } from "./scripts/setup/tools.mjs"; process.stdout.write(cacheDirectory());';
  const ofSetUp = execFileSync(process.execPath, ["--input-type=module", "-e", script], {
    env: variables,
    encoding: "utf8",
  });
  for (const name of ["HOME", "XDG_CACHE_HOME", "SOMA_CACHE"]) {
    vi.stubEnv(name, (variables as Record<string, string>)[name]);
  }
  expect(ofSetUp).toBe(cacheDirectory());
  vi.unstubAllEnvs();
});

describe("compiled addons", () => {
  test("are compiled once and copied to a second clone; a damaged copy in the cache is compiled again", async () => {
    const clone = new Clone();
    clone.installCompiler();
    await clone.setUp();
    expect(clone.compileCount).toBe(1);
    // What was compiled is no library, so it is not taken for one.
    expect(clone.read("node_modules/hnswlib-node/build/soma.json")).toContain("does not run");
    await clone.setUp();
    expect(clone.compileCount).toBe(1);
    const kept = readdirSync(join(clone.cache, "addons")).find((name) => name.endsWith(".node"));
    writeFileSync(join(clone.cache, "addons", kept ?? ""), "torn");
    await clone.setUp();
    expect(clone.compileCount).toBe(2);
    expect(clone.read("node_modules/hnswlib-node/build/Release/addon.node")).toBe("a library\n");
  });

  test("two set-ups at once compile once", async () => {
    const clone = new Clone();
    clone.installCompiler();
    const results = await Promise.all([clone.setUpAgain(), clone.setUpAgain()]);
    expect(results.map(({ code }) => code)).toEqual([0, 0]);
    expect(clone.compileCount).toBe(1);
    expect(results.filter(({ output }) => output.includes("waiting for it"))).toHaveLength(1);
  });

  test("a compiler that fails is quoted", async () => {
    const clone = new Clone();
    clone.install("g++", 'echo "addon.cc:1: fatal error: no such header" >&2; exit 1');
    const { code, output } = await clone.setUp();
    expect(code).toBe(0);
    expect(output).toContain("hnswlib does not compile (addon.cc:1: fatal error: no such header)");
  });
});

describe.runIf(process.platform === "linux" && process.arch === "x64")("TensorFlow", () => {
  /** Python whose pip answers `download` by the script; `$DEST` is where wheels go. */
  function withPip(download: string): Clone {
    const clone = new Clone();
    clone.installCompiler();
    clone.install(
      "python3",
      `[ "$3" = --version ] && exit 0
while [ "$1" != --dest ]; do shift; done
DEST="$2"
${download}`,
    );
    return clone;
  }

  test("that cannot be downloaded is told with pip's words, and no folder is left, not even an older one", async () => {
    const clone = withPip('echo "ERROR: no route to the index" >&2; exit 1');
    mkdirSync(join(clone.cache, "tensorflow-2.21.0.4711.tmp"), { recursive: true });
    const { code, output } = await clone.setUp();
    expect(code).toBe(0);
    expect(output).toContain("cannot be downloaded (ERROR: no route to the index)");
    expect(readdirSync(clone.cache).filter((name) => name.startsWith("tensorflow"))).toEqual([]);
  });

  test("that is not the pinned file is refused before it is opened", async () => {
    const clone = withPip('echo forged > "$DEST/tensorflow_cpu-2.21.0-cp311-cp311-x.whl"');
    const { code, output } = await clone.setUp();
    expect(code).toBe(0);
    expect(output).toContain("the download of tensorflow-cpu is not the pinned file");
    expect(readdirSync(clone.cache).filter((name) => name.startsWith("tensorflow"))).toEqual([]);
  });

  test("is not tried again at every start while the same tools are there", async () => {
    const clone = withPip(`echo asked >> "$0.log"; exit 1`);
    await clone.setUp();
    expect((await clone.setUpAgain()).output).toBe("");
    expect(readFileSync(join(clone.bin, "python3.log"), "utf8")).toBe("asked\n");
    await clone.setUp(); // asked for by hand
    expect(readFileSync(join(clone.bin, "python3.log"), "utf8")).toBe("asked\nasked\n");
  });

  test("without pip says how to have it", async () => {
    const clone = new Clone();
    clone.installCompiler();
    clone.install("python3", "exit 1");
    expect((await clone.setUp()).output).toContain(
      "python3 has no pip; install it (Debian: apt-get install python3-pip)",
    );
  });
});

describe("count-tests", () => {
  async function count(
    report: object | undefined,
    ...failedGuards: string[]
  ): Promise<{ code: number; output: string }> {
    const clone = new Clone();
    if (report !== undefined) clone.write("report.json", JSON.stringify(report));
    return clone.node("scripts/count-tests.mjs", "report.json", ...failedGuards);
  }
  const good = { numPassedTests: 7, numFailedTests: 0, testResults: [] };

  test.each([
    ["all passed", good, [], { code: 0, output: "7 passed, 0 failed\n" }],
    [
      "a test failed",
      { ...good, numFailedTests: 2 },
      ["tests"],
      { code: 1, output: "7 passed, 2 failed\n" },
    ],
    ["another guard failed", good, ["lint"], { code: 1, output: "7 passed, 1 failed\n" }],
    [
      "tests ended badly without a failed test",
      good,
      ["tests"],
      { code: 1, output: "7 passed, 1 failed\n" },
    ],
    ["there is no report", undefined, [], { code: 1, output: "0 passed, 0 failed\n" }],
    [
      "a file did not load",
      { ...good, testResults: [{ status: "failed", assertionResults: [] }] },
      ["tests"],
      { code: 1, output: "7 passed, 1 failed\n" },
    ],
  ])(
    "when %s, the last line and the exit code say so",
    async (_title, report, guards, expected) => {
      expect(await count(report, ...guards)).toEqual(expected);
    },
  );
});
