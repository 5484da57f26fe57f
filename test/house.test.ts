import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import {
  arrows,
  circles,
  doors,
  exports,
  foreignWords,
  importsOf,
  lengths,
  lightCommandLine,
  purity,
  resolve,
  type Files,
  type Violation,
} from "./support/house.ts";

/** Large or binary: not written by hand. */
const NOT_TEXT = /\.(model|png|jpg|jpeg|webp|gz|npy|arrow|parquet|safetensors|svg|log)$/;
/** What .gitignore names. */
const NOT_OURS = new Set([
  ".git",
  ".soma",
  "__pycache__",
  "checkpoints",
  "dist",
  "node_modules",
  "runs",
]);

/** Every file of the repository below `folder`, by path; read without git, which a checkout may lack. */
function repository(folder = ""): Files {
  const files = new Map<string, string>();
  for (const entry of readdirSync(folder === "" ? "." : folder, { withFileTypes: true })) {
    const path = folder === "" ? entry.name : `${folder}/${entry.name}`;
    if (entry.isDirectory() && !NOT_OURS.has(entry.name)) {
      for (const [inner, text] of repository(path)) files.set(inner, text);
    } else if (entry.isFile() && !NOT_TEXT.test(path)) {
      files.set(path, readFileSync(path, "utf8"));
    }
  }
  return files;
}

const HOUSE = repository();
const DEPENDENCIES = Object.keys(
  (JSON.parse(HOUSE.get("package.json") ?? "{}") as { dependencies: object }).dependencies,
);

describe("in this repository", () => {
  test("imports run only downwards", () => {
    expect(arrows(HOUSE)).toEqual([]);
  });
  test("imports never run in a circle", () => {
    expect(circles(HOUSE)).toEqual([]);
  });
  test("each outside package has one door", () => {
    expect(doors(HOUSE, DEPENDENCIES)).toEqual([]);
  });
  test("the command line loads nothing heavy before an action runs", () => {
    expect(lightCommandLine(HOUSE)).toEqual([]);
  });
  test("the rules of the network are pure", () => {
    expect(purity(HOUSE)).toEqual([]);
  });
  test("nothing is exported by default or by a star, and imports say .ts", () => {
    expect(exports(HOUSE)).toEqual([]);
  });
  test("no file names one person's machine or a registry", () => {
    expect(foreignWords(HOUSE)).toEqual([]);
  });
  test("files are short", () => {
    expect(lengths(HOUSE)).toEqual([]);
  });
  test("the checks saw the sources", () => {
    expect([...HOUSE.keys()]).toContain("base/errors.ts");
    expect([...HOUSE.keys()].filter((path) => path.endsWith(".ts")).length).toBeGreaterThan(50);
  });
});

/** A house of a few files, as an object for brevity. */
function house(files: Readonly<Record<string, string>>): Files {
  return new Map(Object.entries(files));
}

type Case = readonly [title: string, files: Readonly<Record<string, string>>];

function breaks(check: (files: Files) => readonly Violation[], cases: readonly Case[]): void {
  test.each(cases)("%s is found", (_title, files) => {
    expect(check(house(files)).length).toBeGreaterThan(0);
  });
}

function allows(check: (files: Files) => readonly Violation[], cases: readonly Case[]): void {
  test.each(cases)("%s is allowed", (_title, files) => {
    expect(check(house(files))).toEqual([]);
  });
}

describe("importsOf", () => {
  test("tells what runs at once, what vanishes and what runs when reached", () => {
    const text = `
      // import { a } from "./comment.ts";
      import { b } from "./static.ts";
      import type { c } from "./type.ts";
      import { type d, type e } from "./types.ts";
      import { type f, g } from "./mixed.ts";
      import "./effect.ts";
      export { h } from "./again.ts";
      const text = 'import { i } from "./string.ts"';
      const j = await import("./dynamic.ts");
      const k = require("package");
      const l = require.resolve("package/file");
      let m: typeof import("./typeof.ts");
      new Worker(new URL("./worker.js", import.meta.url));
    `;
    expect(
      importsOf("base/x.ts", text).map(({ specifier, kind }) => `${kind} ${specifier}`),
    ).toEqual([
      "static ./static.ts",
      "type ./type.ts",
      "type ./types.ts",
      "static ./mixed.ts",
      "static ./effect.ts",
      "static ./again.ts",
      "dynamic ./dynamic.ts",
      "dynamic package",
      "dynamic package/file",
      "type ./typeof.ts",
      "dynamic ./worker.js",
    ]);
  });

  test("gives the line of each", () => {
    expect(importsOf("base/x.ts", '\n\nimport "a";\n')[0]?.line).toBe(3);
  });

  test.each([
    ["a/b/c.ts", "./d.ts", "a/b/d.ts"],
    ["a/b/c.ts", "../d.ts", "a/d.ts"],
    ["a/b/c.ts", "../../d/e.ts", "d/e.ts"],
    ["cli.ts", "./a/b.ts", "a/b.ts"],
    ["a/b.ts", "./worker.js", "a/worker.ts"],
  ])("from %s the name %s means %s", (from, specifier, path) => {
    expect(resolve(from, specifier)).toBe(path);
  });
});

describe("arrows", () => {
  breaks(arrows, [
    ["base that imports a wing", { "base/a.ts": 'import "../models/b.ts";' }],
    ["tokenizers that import datasets", { "tokenizers/a.ts": 'import "../datasets/b.ts";' }],
    ["datasets that import models", { "datasets/a.ts": 'import "../models/b.ts";' }],
    ["models that import training", { "models/a/b.ts": 'import "../../training/b.ts";' }],
    ["training that imports node", { "training/a.ts": 'await import("../node/b.ts");' }],
    ["training that imports protocol", { "training/a.ts": 'import "../protocol/b.ts";' }],
    [
      "node that imports datasets, if only a type",
      { "node/a.ts": 'import type { x } from "../datasets/b.ts";' },
    ],
    ["node that imports training", { "node/a.ts": 'const x = await import("../training/b.ts");' }],
    ["bench that imports the roof", { "bench/a.ts": 'import "../cli.ts";' }],
    [
      "a worker in another wing",
      { "tokenizers/a.ts": 'new Worker(new URL("../node/w.js", import.meta.url));' },
    ],
    ["the roof that imports more than commands", { "cli.ts": 'import "./training/trainer.ts";' }],
    ["protocol that imports models", { "protocol/a.ts": 'import "../models/b.ts";' }],
    [
      "protocol that imports a tokenizer",
      { "protocol/a.ts": 'import "../tokenizers/tokenizer.ts";' },
    ],
    ["protocol that imports IO of the ground", { "protocol/a.ts": 'import "../base/files.ts";' }],
    ["crypto that imports consensus", { "protocol/crypto/a.ts": 'import "../consensus/b.ts";' }],
    ["shard that imports consensus", { "protocol/shard/a.ts": 'import "../consensus/b.ts";' }],
    ["economics that import the ledger", { "protocol/economics/a.ts": 'import "../ledger/b.ts";' }],
    [
      "the ledger that imports a transaction",
      { "protocol/ledger/a.ts": 'import "../transactions/b.ts";' },
    ],
    ["a wing that imports a face", { "node/a.ts": 'import "../models/index.ts";' }],
    ["a wing that imports a test", { "node/a.ts": 'import "../test/support/b.ts";' }],
  ]);
  allows(arrows, [
    [
      "bench that imports every wing",
      { "bench/a.ts": 'import "../node/b.ts"; import "../training/c.ts";' },
    ],
    [
      "the roof that imports commands",
      { "cli.ts": 'import "./node/commands.ts"; import "./base/errors.ts";' },
    ],
    [
      "protocol that imports the masks",
      { "protocol/shard/masks.ts": 'import "../../tokenizers/mask.ts";' },
    ],
    [
      "the validator that imports protocol",
      { "protocol/validator.ts": 'import "./epoch/epoch.ts";' },
    ],
    [
      "a test that imports anything",
      { "test/a.test.ts": 'import "../node/b.ts"; import "../cli.ts";' },
    ],
    [
      "a program of its own that is started by path",
      { "bench/a.ts": 'spawn("node", [fileURLToPath(new URL("../cli.js", import.meta.url))]);' },
    ],
    ["a comment that looks like an import", { "base/a.ts": '// import "../models/b.ts";' }],
  ]);
});

describe("circles", () => {
  breaks(circles, [
    ["a file that imports itself", { "base/a.ts": 'import "./a.ts";' }],
    ["a circle of two", { "base/a.ts": 'import "./b.ts";', "base/b.ts": 'import "./a.ts";' }],
    [
      "a circle of three, through a type and an action",
      {
        "base/a.ts": 'import "./b.ts";',
        "base/b.ts": 'import type { c } from "./c.ts";',
        "base/c.ts": 'await import("./a.ts");',
      },
    ],
  ]);
  allows(circles, [
    [
      "a diamond",
      {
        "base/a.ts": 'import "./b.ts"; import "./c.ts";',
        "base/b.ts": 'import "./d.ts";',
        "base/c.ts": 'import "./d.ts";',
        "base/d.ts": "",
      },
    ],
  ]);
});

describe("doors", () => {
  const check = (files: Files): readonly Violation[] =>
    doors(files, ["sharp", "umap-js", "commander"]);
  breaks(check, [
    ["a package beside its door", { "datasets/images.ts": 'import sharp from "sharp";' }],
    [
      "a package's type beside its door",
      { "datasets/a.ts": 'import type { Sharp } from "sharp";' },
    ],
    [
      "a package's file beside its door",
      { "datasets/a.ts": 'await import("sharp/lib/index.js");' },
    ],
    [
      "a second file that names a package",
      { "bench/a.ts": 'import "umap-js";', "bench/b.ts": 'require("umap-js");' },
    ],
    ["commands in a file of another name", { "node/a.ts": 'import "commander";' }],
    ["a package that is not installed for users", { "base/a.ts": 'import "vitest";' }],
  ]);
  allows(check, [
    ["a package in its door", { "tokenizers/image/decode.ts": 'import sharp from "sharp";' }],
    ["a package in one file", { "bench/a.ts": 'import "umap-js"; await import("umap-js");' }],
    [
      "commands in several wings",
      { "node/commands.ts": 'import "commander";', "cli.ts": 'import "commander";' },
    ],
    ["what Node brings", { "node/a.ts": 'import "node:fs";', "node/b.ts": 'import "node:fs";' }],
    ["any package in a test", { "test/a.test.ts": 'import "vitest"; import "sharp";' }],
  ]);
});

describe("lightCommandLine", () => {
  const roof = { "cli.ts": 'import { r } from "./node/commands.ts";' };
  breaks(lightCommandLine, [
    ["a heavy package in a commands file", { ...roof, "node/commands.ts": 'import "fastify";' }],
    [
      "a heavy package two files away",
      {
        ...roof,
        "node/commands.ts": 'import { a } from "./a.ts";',
        "node/a.ts": 'import sharp from "sharp";',
      },
    ],
    [
      "the door of tensors",
      {
        ...roof,
        "node/commands.ts": 'import { tf } from "../models/backend.ts";',
        "models/backend.ts": "",
      },
    ],
  ]);
  allows(lightCommandLine, [
    [
      "a heavy package inside an action",
      { ...roof, "node/commands.ts": 'await import("fastify");' },
    ],
    [
      "a heavy package's type",
      { ...roof, "node/commands.ts": 'import type { F } from "fastify";' },
    ],
  ]);
});

describe("purity", () => {
  const inProtocol = (text: string): Case => [text, { "protocol/shard/a.ts": text }];
  breaks(
    purity,
    [
      "const t = Date.now();",
      "async function f() {}",
      "const x = await y;",
      "let p: Promise<void>;",
      "const r = Math.random();",
      "const e = Math.exp(1);",
      "const e = 1.5 ** x;",
      "setTimeout(f, 1);",
      "console.log(1);",
      "process.exit();",
      "performance.now();",
      'fetch("x");',
      "JSON.stringify({});",
      "list.sort();",
      "list.toSorted();",
      'a.localeCompare("b");',
      'import { readFileSync } from "node:fs";',
      'import { createHash } from "node:crypto";',
      'import("./b.ts");',
    ].map(inProtocol),
  );
  breaks(purity, [
    ["a clock in tokenizers/mask.ts", { "tokenizers/mask.ts": "Date.now();" }],
    ["chance in tokenizers/random.ts", { "tokenizers/random.ts": "Math.random();" }],
  ]);
  allows(purity, [
    ...[
      "list.sort((a, b) => a - b);",
      "const x = 2 ** 32 + Math.floor(y);",
      "const block = { process: 1 }; f(block.process);",
      "// Date.now() would differ",
      'const text = "console.log";',
    ].map(inProtocol),
    ["hashing by node:crypto at its door", { "protocol/base/hash.ts": 'import "node:crypto";' }],
    ["a clock elsewhere", { "node/a.ts": "Date.now(); await x;" }],
  ]);
});

describe("exports", () => {
  breaks(exports, [
    ["a default value", { "base/a.ts": "export default 1;" }],
    ["a default function", { "base/a.ts": "export default function f() {}" }],
    ["a default by name", { "base/a.ts": "const a = 1; export { a as default };" }],
    ["a star", { "test/a.ts": 'export * from "./b.ts";' }],
    ["an import without .ts", { "base/a.ts": 'import { b } from "./b.js";' }],
  ]);
  allows(exports, [
    ["a switch with a default", { "base/a.ts": "switch (x) { default: f(); }" }],
    ["a tool's configuration", { "vitest.config.ts": "export default {};" }],
    ["named exports", { "base/a.ts": 'export { b } from "./b.ts"; export const c = 1;' }],
  ]);
});

describe("foreignWords", () => {
  // Put together here, so that this file passes the check itself.
  const [slash, dot] = ["/", "."];
  breaks(foreignWords, [
    ["a temporary folder", { "docs/a.md": `see ${slash}tmp/output.json` }],
    ["a home", { "a.sh": `cd "${slash}home/alice/soma"` }],
    ["the root's home", { "a.sh": `cd ${slash}root/.cache` }],
    [
      "a registry",
      { "package-lock.json": `"resolved": "https://registry${dot}example${dot}org/x.tgz"` },
    ],
    ["a Python index", { "a.py": `--index-url https://mirror${dot}pypi${dot}org/simple` }],
    ["a private address", { "a.ts": `http://${["10", "0", "3", "4"].join(".")}:8080` }],
  ]);
  allows(foreignWords, [
    ["a folder of ours", { "a.ts": 'join(root, "runs/first"); // node_modules/.cache/tmp/x' }],
    ["this machine", { "README.md": "http://127.0.0.1:8080" }],
    ["a version of four numbers", { "a.json": '"12.9.3.13"' }],
  ]);
});

describe("lengths", () => {
  breaks(lengths, [
    ["a source of 401 lines", { "base/a.ts": "\n".repeat(401) }],
    ["a test of 601 lines", { "test/a.test.ts": "\n".repeat(601) }],
  ]);
  allows(lengths, [
    ["a test of 600 lines", { "test/a.test.ts": "\n".repeat(600) }],
    ["a source of 400 lines", { "base/a.ts": "\n".repeat(400) }],
    ["a long page of data", { "package-lock.json": "\n".repeat(5000) }],
  ]);
});
