// The binding between tfjs and TensorFlow: compiled, tried in a process of its own, and only then recorded as good.
// models/backend.ts loads nothing that this record does not name.
import { existsSync, statSync } from "node:fs";
import { join } from "node:path";
import { buildAddon, compiler } from "./addon.mjs";
import { buildKernels, kernelsKey } from "./kernels.mjs";
import {
  LIBRARIES,
  librarySizes,
  provideTensorflow,
  TENSORFLOW_VERSION,
  tensorflowDevice,
} from "./tensorflow.mjs";
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

const PACKAGE = join(ROOT, "node_modules", "@tensorflow", "tfjs-node-gpu");
const FOLDER = join(PACKAGE, "lib", "napi-v8");
const RECORD = join(FOLDER, "soma.json");
const PLATFORM = `${process.platform}-${process.arch}`;

/** A failed set-up is tried again after this long, or as soon as a tool it lacked appears. */
const RETRY_AFTER_MS = 3_600_000;

/** The compilers and interpreters that are there: a change is a reason to try again. */
function toolsFound() {
  return [
    findProgram("python3", "python"),
    findProgram("g++", "clang++", "c++"),
    findProgram("nvidia-smi"),
  ].join(":");
}

/** True when there is nothing to do: the binding stands, or it lately failed for a reason that still holds. */
export function nativeReady({ retryFailed }) {
  const record = readJson(RECORD);
  if (record === undefined) return false;
  if (record.reason !== undefined) {
    return (
      !retryFailed && record.tools === toolsFound() && Date.now() - record.time < RETRY_AFTER_MS
    );
  }
  return (
    record.tensorflow === TENSORFLOW_VERSION &&
    record.platform === PLATFORM &&
    record.kernelsKey === kernelsKey() &&
    record.gpuSeen === (findProgram("nvidia-smi") !== undefined) &&
    Object.keys(record.files).every((name) => existsSync(join(FOLDER, name))) &&
    Object.entries(record.librarySizes).every(
      ([name, size]) =>
        statSync(join(record.libraries, name), { throwIfNoEntry: false })?.size === size,
    )
  );
}

/** @throws PartMissing, after recording why for `soma doctor` */
export async function setUpNative() {
  try {
    const device = await tensorflowDevice();
    compiler(); // asked first: without it the download would be in vain
    if (device === "gpu") {
      try {
        return await build(device);
      } catch (error) {
        if (!(error instanceof PartMissing)) throw error;
        // A GPU that cannot be used is no reason to do without the fast CPU library.
      }
    }
    await build("cpu");
  } catch (error) {
    if (!(error instanceof PartMissing)) throw error;
    writeWhole(
      RECORD,
      JSON.stringify({ reason: error.message, tools: toolsFound(), time: Date.now() }),
    );
    throw error;
  }
}

async function build(device) {
  const libraries = await provideTensorflow(device);
  await step("compiling the binding to TensorFlow", async () => {
    const linked = [
      `-L${libraries}`,
      `-Wl,-rpath,${libraries}`,
      ...LIBRARIES.map((name) => `-l:${name}`),
    ];
    const headers = [join(libraries, "include"), join(libraries, "include", "tensorflow")];
    const versions = `tfjs ${packageVersion("@tensorflow/tfjs-node-gpu")}, TensorFlow ${TENSORFLOW_VERSION}`;
    const binding = join(PACKAGE, "binding");
    /** What is compiled into FOLDER, by file name. */
    const addons = {
      "tfjs_binding.node": {
        name: "tfjs_binding",
        keyParts: versions,
        sources: [join(binding, "tfjs_backend.cc"), join(binding, "tfjs_binding.cc")],
        includes: [PACKAGE, ...headers],
        flags: ["-O2", ...linked],
      },
      "quiet.node": {
        name: "quiet",
        keyParts: "",
        sources: [join(ROOT, "native", "quiet.cc")],
        flags: ["-O2"],
      },
    };
    const files = {};
    for (const [name, addon] of Object.entries(addons))
      files[name] = await buildAddon(addon, join(FOLDER, name));
    await tryBinding();
    const kernels = await buildKernels({ folder: FOLDER, includes: headers, linked });
    if (kernels.digest !== undefined) files["kernels.node"] = kernels.digest;
    writeWhole(
      RECORD,
      JSON.stringify({
        tensorflow: TENSORFLOW_VERSION,
        device,
        platform: PLATFORM,
        gpuSeen: findProgram("nvidia-smi") !== undefined,
        libraries,
        librarySizes: librarySizes(libraries),
        files,
        kernelsKey: kernelsKey(),
        processor: kernels.processor,
        ...(kernels.reason === undefined ? {} : { kernelsReason: kernels.reason }),
      }),
    );
  });
}

/** One product of matrices in a process of its own: a library that this processor cannot run would end ours. */
async function tryBinding() {
  const { code, output } = await run(
    process.execPath,
    [join(ROOT, "scripts", "setup", "try-native.cjs"), FOLDER],
    {
      env: { ...process.env, TF_CPP_MIN_LOG_LEVEL: "2" },
    },
  );
  if (code !== 0) {
    throw new PartMissing(
      `TensorFlow ${TENSORFLOW_VERSION} does not run on this machine (${tellingLine(output)})`,
      "a processor with AVX is needed for full speed",
    );
  }
}
