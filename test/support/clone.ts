/**
 * A small clone of the repository on a machine that has only what a test gives it: for the scripts that set up,
 * test and start, run as the person runs them.
 */
import { execFile } from "node:child_process";
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const REPOSITORY = fileURLToPath(new URL("../../", import.meta.url));

/** Installed packages that set-up reads; a clone of the tests links to the real ones. */
const LINKED_PACKAGES = ["node-api-headers", "node-addon-api"];
/** What stands in for tsc where the test is not about the program: it takes 2 s less. */
const QUICK_TSC = `const { copyFileSync, mkdirSync } = require("node:fs");
mkdirSync("dist", { recursive: true });
copyFileSync("cli.ts", "dist/cli.js");`;

const folders: string[] = [];

/** Removes every clone; called after each test. */
export function removeClones(): void {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
}

/** A small clone on a machine whose PATH holds Node and what is added to it. Its cache is empty. */
export class Clone {
  readonly root: string;
  readonly cache: string;
  readonly bin: string;

  /** @param typescript  whether the real compiler is there */
  constructor(typescript: "real" | "quick" = "quick") {
    const folder = mkdtempSync(join(tmpdir(), "soma-setup-"));
    folders.push(folder);
    this.root = join(folder, "clone");
    this.cache = join(folder, "cache");
    this.bin = join(folder, "bin");
    mkdirSync(this.bin);
    symlinkSync(process.execPath, join(this.bin, "node"));
    for (const name of ["scripts", "native", "tsconfig.json", "tsconfig.build.json"]) {
      cpSync(join(REPOSITORY, name), join(this.root, name), { recursive: true });
    }
    this.write("package.json", JSON.stringify({ name: "soma", type: "module" }));
    this.write("package-lock.json", JSON.stringify({ packages: { "": {} } }));
    this.write("node_modules/.package-lock.json", JSON.stringify({ packages: {} }));
    if (typescript === "quick") this.write("node_modules/typescript/bin/tsc", QUICK_TSC);
    for (const name of [
      ...LINKED_PACKAGES,
      ...(typescript === "real" ? ["typescript", "@types"] : []),
    ]) {
      symlinkSync(join(REPOSITORY, "node_modules", name), join(this.root, "node_modules", name));
    }
    // The packages whose addons are built; the fake compilers below do not look inside.
    for (const name of ["binding/tfjs_backend.cc", "binding/tfjs_binding.cc"]) {
      this.write(`node_modules/@tensorflow/tfjs-node-gpu/${name}`, "// C++");
    }
    this.write("node_modules/hnswlib-node/src/addon.cc", "// C++");
    this.write(
      "cli.ts",
      '#!/usr/bin/env node\nimport { word } from "./base/word.ts";\nconsole.log(word);\n',
    );
    this.write("base/word.ts", 'export const word: string = "hello";\n');
    this.write("base/page.html", "<p>hello</p>\n");
  }

  write(path: string, text: string): void {
    mkdirSync(dirname(join(this.root, path)), { recursive: true });
    writeFileSync(join(this.root, path), text);
  }

  read(path: string): string {
    return readFileSync(join(this.root, path), "utf8");
  }

  has(path: string): boolean {
    return existsSync(join(this.root, path));
  }

  /** A program of this machine, as a shell script. */
  install(name: string, script: string): void {
    writeFileSync(join(this.bin, name), `#!/bin/sh\nPATH=/usr/bin:/bin\n${script}\n`);
    chmodSync(join(this.bin, name), 0o755);
  }

  /** A compiler that notes what it was asked to make, and makes a file that is no library. */
  installCompiler(): void {
    this.install(
      "g++",
      `if [ "$1" = --version ]; then echo "g++ of the tests"; exit; fi
echo compiled >> "${this.bin}/compiled"
while [ "$1" != -o ]; do shift; done
echo "a library" > "$2"`,
    );
  }

  get compileCount(): number {
    const log = join(this.bin, "compiled");
    return existsSync(log) ? readFileSync(log, "utf8").trim().split("\n").length : 0;
  }

  /** Set-up as the person runs it. */
  setUp(): Promise<{ code: number; output: string }> {
    return this.node("scripts/setup.mjs");
  }

  /** Set-up as `npm start` and `npm test` begin. */
  setUpAgain(): Promise<{ code: number; output: string }> {
    return this.node(
      "--input-type=module",
      "-e",
      'await (await import("./scripts/setup.mjs")).setUp();',
    );
  }

  node(...args: readonly string[]): Promise<{ code: number; output: string }> {
    return new Promise((resolve) => {
      const env = { PATH: this.bin, SOMA_CACHE: this.cache };
      execFile(process.execPath, args, { cwd: this.root, env }, (error, stdout, stderr) => {
        resolve({ code: error === null ? 0 : Number(error.code), output: stdout + stderr });
      });
    });
  }
}
