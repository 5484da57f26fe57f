// The addon of hnswlib-node. Compiled by ourselves in one call, 6 s: node-gyp takes 40 s, and downloads Node's headers.
import { join } from "node:path";
import { existsSync } from "node:fs";
import { buildAddon } from "./addon.mjs";
import {
  findProgram,
  packageVersion,
  PartMissing,
  readJson,
  ROOT,
  run,
  step,
  tellingLine,
  writeWhole,
} from "./tools.mjs";

const PACKAGE = join(ROOT, "node_modules", "hnswlib-node");
const TARGET = join(PACKAGE, "build", "Release", "addon.node");
const RECORD = join(PACKAGE, "build", "soma.json");

/** True when there is nothing to do: the addon stands, or there was and is no compiler to build it. */
export function hnswReady({ retryFailed }) {
  const record = readJson(RECORD);
  if (record === undefined) return false;
  if (record.reason !== undefined)
    return !retryFailed && record.compiler === findProgram("g++", "clang++", "c++");
  return record.platform === `${process.platform}-${process.arch}` && existsSync(TARGET);
}

/** @throws PartMissing, after recording why for `soma doctor` */
export async function setUpHnsw() {
  try {
    await step("compiling the neighbour index (hnswlib)", build);
  } catch (error) {
    if (!(error instanceof PartMissing)) throw error;
    writeWhole(
      RECORD,
      JSON.stringify({ reason: error.message, compiler: findProgram("g++", "clang++", "c++") }),
    );
    throw error;
  }
}

async function build() {
  const digest = await buildAddon(
    {
      name: "hnswlib",
      keyParts: `hnswlib-node ${packageVersion("hnswlib-node")}, node-addon-api ${packageVersion("node-addon-api")}`,
      sources: [join(PACKAGE, "src", "addon.cc")],
      includes: [join(ROOT, "node_modules", "node-addon-api")],
      // As in the package's binding.gyp, with the optimisation of node-gyp's release build.
      flags: ["-O3", "-pthread", "-DNAPI_DISABLE_CPP_EXCEPTIONS", "-DBUILDING_NODE_EXTENSION"],
    },
    TARGET,
  );
  const { code, output } = await run(process.execPath, [
    "-e",
    'const { L2Space } = require("hnswlib-node"); process.exit(new L2Space(2).distance([0, 0], [3, 4]) === 25 ? 0 : 1);',
  ]);
  if (code !== 0) {
    throw new PartMissing(
      `the compiled hnswlib does not run (${tellingLine(output)})`,
      "check the C++ compiler",
    );
  }
  writeWhole(
    RECORD,
    JSON.stringify({ platform: `${process.platform}-${process.arch}`, sha256: digest }),
  );
}
