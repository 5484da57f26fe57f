// Our own TensorFlow kernels (native/): compiled for this very processor, tried in a process of its own. Without them
// training runs on TensorFlow's ops, slower: a failure here never stops set-up.
import { readdirSync, readFileSync } from "node:fs";
import { cpus } from "node:os";
import { join } from "node:path";
import { buildAddon } from "./addon.mjs";
import { PartMissing, ROOT, run, say, sha256, tellingLine } from "./tools.mjs";

const SOURCES = join(ROOT, "native");
const NAME = "kernels.node";
const APART = "quiet.cc"; // a library of its own

/** No -ffast-math: sums keep their order, and NaN stays visible. */
const FLAGS = ["-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-DNDEBUG"];

function filesEndingIn(ending) {
  return readdirSync(SOURCES)
    .filter((name) => name.endsWith(ending) && name !== APART)
    .sort()
    .map((name) => join(SOURCES, name));
}

/** The processor that compiled code fits; models/backend.ts derives the same text and loads nothing built for another. */
export function processorName() {
  const model = cpus()[0]?.model ?? "unknown";
  let abilities = "";
  try {
    abilities =
      /^(?:flags|Features)\s*:.*$/m.exec(readFileSync("/proc/cpuinfo", "latin1"))?.[0] ?? "";
  } catch {
    // Not Linux: the model alone has to do.
  }
  return `${model} ${sha256(abilities).slice(0, 12)}`;
}

/** Changes whenever the library must be built anew: other sources, or another processor. */
export function kernelsKey() {
  const texts = [...filesEndingIn(".cc"), ...filesEndingIn(".h")].map((path) => readFileSync(path));
  return sha256([processorName(), ...FLAGS, ...texts.map((text) => sha256(text))].join("\n"));
}

/**
 * @param {{ folder: string, includes: string[], linked: string[] }} where  the folder of the binding, TensorFlow's
 *   headers, the flags that link against it
 * @returns {Promise<{ processor: string, digest?: string, reason?: string }>} the library's SHA-256, or why there is none
 */
export async function buildKernels({ folder, includes, linked }) {
  const processor = processorName();
  const addon = {
    name: "kernels",
    keyParts: kernelsKey(),
    sources: filesEndingIn(".cc"),
    headers: filesEndingIn(".h"),
    includes: [...includes.slice(0, 1), join(SOURCES, "include")],
  };
  try {
    const flags = [...FLAGS, "-pthread", ...linked];
    const digest = await buildAddon({ ...addon, flags }, join(folder, NAME));
    await tryKernels(folder);
    return { processor, digest };
  } catch (error) {
    if (!(error instanceof PartMissing)) throw error;
    say(`our own kernels are left out, training is slower: ${error.message}`);
    return { processor, reason: error.message };
  }
}

/** An instruction that this processor lacks, or a library that TensorFlow refuses, would end the process. */
async function tryKernels(folder) {
  const { code, output } = await run(
    process.execPath,
    [join(ROOT, "scripts", "setup", "try-native.cjs"), folder, NAME],
    { env: { ...process.env, TF_CPP_MIN_LOG_LEVEL: "2" } },
  );
  if (code !== 0) {
    throw new PartMissing(
      `the kernels in native/ do not run on this machine (${tellingLine(output)})`,
      "check the C++ compiler, then run `npm run setup`",
    );
  }
}
