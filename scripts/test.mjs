// `npm test`: set-up, then the tests. Arguments go to vitest: `npm test -- test/models -t matMul`.
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { setUp } from "./setup.mjs";
import { ROOT, say } from "./setup/tools.mjs";

try {
  await setUp();
} catch (error) {
  say(error.message);
  process.exit(1);
}
const vitest = join(ROOT, "node_modules", "vitest", "vitest.mjs");
const { status } = spawnSync(process.execPath, [vitest, "run", ...process.argv.slice(2)], {
  cwd: ROOT,
  stdio: "inherit",
});
process.exit(status ?? 1);
