// The tests of our own kernels with native/ compiled under AddressSanitizer and UndefinedBehaviorSanitizer: a read or
// write past any buffer, TensorFlow's included, ends the test at once.
//   node scripts/sanitize-ops.mjs [files and options for vitest]
// Works in a copy of the repository that shares node_modules but for the library, so the installed one is not touched.
// First the same is done with a kernel that was made to read past its input on purpose, which must be caught: a
// sanitizer that sees nothing proves nothing. Needs Linux, g++ with libasan, and a set-up clone; takes some minutes.
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { compiler } from "./setup/addon.mjs";
import { readJson, ROOT, run, say, sha256File, step } from "./setup/tools.mjs";

const PACKAGE = join("node_modules", "@tensorflow", "tfjs-node-gpu");
const LIBRARY = join(PACKAGE, "lib", "napi-v8");
const FLAGS = [
  "-O1",
  "-g",
  "-march=native",
  "-fno-omit-frame-pointer",
  "-fsanitize=address,undefined",
  "-fno-sanitize-recover=all",
];
/** What the copy needs besides node_modules. */
const PARTS = [
  "base",
  "bench",
  "cli.ts",
  "datasets",
  "models",
  "native",
  "node",
  "package.json",
  "protocol",
  "test",
  "tokenizers",
  "training",
  "tsconfig.json",
  "vitest.config.ts",
];
/** Those that call kernels. */
const TESTS = [
  "vectors",
  "composed",
  "optimizer",
  "together",
  "refusals",
  "threads",
  "bf16",
  "ink-kernel",
  "linear-stack",
].map((name) => `test/models/ops/${name}.test.ts`);

async function main() {
  mkdirSync(join(ROOT, "node_modules", ".cache"), { recursive: true });
  const copy = mkdtempSync(join(ROOT, "node_modules", ".cache", "sanitize-"));
  try {
    makeCopy(copy);
    await proveThatItSees(copy);
    await step("compiling native/ under the sanitizers", () => compile(copy));
    const wanted = process.argv.slice(2);
    const { code, output, reports } = await test(copy, wanted.length === 0 ? TESTS : wanted);
    if (code !== 0) process.stdout.write(output);
    for (const report of reports) process.stdout.write(`${report}\n`);
    if (code !== 0 || reports.length > 0)
      throw new Error(`${reports.length} reports, exit code ${code}`);
    const summary = output.split("\n").filter((line) => /^\s*(Test Files|Tests) /.test(line));
    process.stdout.write(`${summary.join("\n")}\n`);
    say("no read or write past a buffer, no undefined behaviour");
  } finally {
    rmSync(copy, { recursive: true, force: true });
  }
}

function makeCopy(copy) {
  for (const part of PARTS) cpSync(join(ROOT, part), join(copy, part), { recursive: true });
  const link = (path) => symlinkSync(join(ROOT, path), join(copy, path));
  const linkAll = (folder, except) => {
    mkdirSync(join(copy, folder), { recursive: true });
    for (const name of readdirSync(join(ROOT, folder)))
      if (!except.includes(name)) link(join(folder, name));
  };
  linkAll("node_modules", ["@tensorflow", ".cache"]);
  linkAll(dirname(PACKAGE), ["tfjs-node-gpu"]);
  linkAll(PACKAGE, ["lib", "package.json"]);
  // Copied, not linked: the library is looked for beside the real package.json.
  cpSync(join(ROOT, PACKAGE, "package.json"), join(copy, PACKAGE, "package.json"));
  cpSync(join(ROOT, LIBRARY), join(copy, LIBRARY), { recursive: true });
}

/** @throws Error with the compiler's words */
async function compile(copy) {
  const record = readJson(join(copy, LIBRARY, "soma.json"));
  if (record?.libraries === undefined)
    throw new Error("run `npm run setup` first: there is no native TensorFlow");
  const sources = readdirSync(join(copy, "native")).filter(
    (name) => name.endsWith(".cc") && name !== "quiet.cc",
  );
  const target = join(copy, LIBRARY, "kernels.node");
  const includes = [
    join(ROOT, "node_modules", "node-api-headers", "include"),
    join(record.libraries, "include"),
    join(copy, "native", "include"),
  ];
  const { code, output } = await run(compiler(), [
    ...["-std=c++17", "-fPIC", "-shared", "-DNAPI_VERSION=8", ...FLAGS],
    ...includes.map((folder) => `-I${folder}`),
    ...sources.map((name) => join(copy, "native", name)),
    ...[`-L${record.libraries}`, `-Wl,-rpath,${record.libraries}`],
    ...["-l:libtensorflow_cc.so.2", "-l:libtensorflow_framework.so.2", "-pthread", "-o", target],
  ]);
  if (code !== 0) throw new Error(output);
  const files = { ...record.files, "kernels.node": await sha256File(target) };
  writeFileSync(join(copy, LIBRARY, "soma.json"), JSON.stringify({ ...record, files }));
}

/** @returns vitest's exit code and output, and what the sanitizers wrote */
async function test(copy, args) {
  const { output: asan } = await run(compiler(), ["-print-file-name=libasan.so"]);
  const log = join(copy, "report");
  const common = `halt_on_error=1:print_stacktrace=1:log_path=${log}`;
  const { code, output } = await run(
    process.execPath,
    [join(copy, "node_modules", "vitest", "vitest.mjs"), "run", "--reporter=dot", ...args],
    {
      cwd: copy,
      env: {
        ...process.env,
        NO_COLOR: "1",
        LD_PRELOAD: asan.trim(),
        // V8 and TensorFlow keep what they allocate until the process ends.
        ASAN_OPTIONS: `detect_leaks=0:${common}`,
        UBSAN_OPTIONS: common,
      },
    },
  );
  const reports = readdirSync(copy)
    .filter((name) => name.startsWith("report."))
    .map((name) => readFileSync(join(copy, name), "utf8"));
  return { code, output, reports };
}

/** Once with a kernel that believes every id it is given. */
async function proveThatItSees(copy) {
  const path = join(copy, "native", "rows.cc");
  const sound = readFileSync(path, "utf8");
  const check = "ids.data[i] < 0 || ids.data[i] >= V";
  if (!sound.includes(check))
    throw new Error(`native/rows.cc no longer says "${check}": change this script`);
  writeFileSync(path, sound.replaceAll(check, "false"));
  await step("compiling a kernel that reads past its input", () => compile(copy));
  const { code, output, reports } = await test(copy, [
    "test/models/ops/refusals.test.ts",
    "-t",
    "SomaGather",
  ]);
  if (code === 0 || !reports.some((report) => report.includes("heap-buffer-overflow")))
    throw new Error(
      `a read past a buffer was not seen (exit code ${code}):\n${output}\n${reports.join("\n")}`,
    );
  say("a read past a buffer is seen");
  for (const name of readdirSync(copy)) if (name.startsWith("report.")) rmSync(join(copy, name));
  writeFileSync(path, sound);
}

main().catch((error) => {
  say(error instanceof Error ? error.message : String(error));
  process.exitCode = 1;
});
