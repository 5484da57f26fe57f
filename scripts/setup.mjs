// Everything that stands between a fresh clone and a working program: npm packages, native TensorFlow with its
// binding, the neighbour index, the compiled program. Idempotent, resumable, silent when there is nothing to do.
// Only the packages and the program itself are needed; any other part that cannot be had costs one line and speed.
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build, buildReady } from "./setup/build.mjs";
import { dependenciesReady, installDependencies } from "./setup/dependencies.mjs";
import { hnswReady, setUpHnsw } from "./setup/hnsw.mjs";
import { nativeReady, setUpNative } from "./setup/native.mjs";
import { PartMissing, ROOT, say, withLock } from "./setup/tools.mjs";

const NODE_NEEDED = [20, 19];

/**
 * Bring the clone to a working state.
 * @param {{ retryFailed?: boolean }} [options] try parts again that failed a short while ago
 * @throws Error with a message for people, when there is no program in the end
 */
export async function setUp({ retryFailed = false } = {}) {
  checkNode();
  const ready = () =>
    dependenciesReady() &&
    nativeReady({ retryFailed }) &&
    hnswReady({ retryFailed }) &&
    buildReady();
  if (ready()) return;
  await withLock(join(ROOT, ".soma", "setup.lock"), "this clone", async () => {
    if (!dependenciesReady()) await installDependencies();
    // Independent of each other: the download waits for the network while the compilers work.
    const results = await Promise.allSettled([
      buildReady() ? undefined : build(),
      nativeReady({ retryFailed })
        ? undefined
        : optional(setUpNative, "computing on WebAssembly, 10 to 40 times slower"),
      hnswReady({ retryFailed })
        ? undefined
        : optional(setUpHnsw, "searching neighbours one by one, slower above 20,000 vectors"),
    ]);
    const failures = results
      .filter(({ status }) => status === "rejected")
      .map(({ reason }) => reason);
    if (failures.length > 0) throw new Error(failures.map(({ message }) => message).join("\n"));
  });
}

/** Do without a part that cannot be set up, in one line that says what that costs and how to have it. */
async function optional(work, cost) {
  try {
    await work();
  } catch (error) {
    if (!(error instanceof PartMissing)) throw error;
    say(`${cost}: ${error.reason}; ${error.remedy}`);
  }
}

function checkNode() {
  const [major, minor] = process.versions.node.split(".").map(Number);
  if (major > NODE_NEEDED[0] || (major === NODE_NEEDED[0] && minor >= NODE_NEEDED[1])) return;
  throw new Error(
    `Soma needs Node ${NODE_NEEDED.join(".")} or newer, and this is ${process.versions.node}`,
  );
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  setUp({ retryFailed: true }).catch((error) => {
    say(error instanceof Error ? error.message : String(error));
    process.exitCode = 1;
  });
}
