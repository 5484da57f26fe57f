/** The Python twin and we, two readings of one page, agree on inputs nobody chose. */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { agreesWith, type Vectors } from "../support/mask-vectors.ts";

const TWIN = fileURLToPath(new URL("../vectors/twin.py", import.meta.url));
const CASES = 60; // of each sort

const hasPython = spawnSync("python3", ["--version"]).status === 0;
const title = hasPython ? "the Python twin" : "the Python twin (SKIPPED: there is no python3 here)";

describe.skipIf(!hasPython)(title, () => {
  test("holds both files of vectors", () => {
    const { status, stdout, stderr } = spawnSync("python3", [TWIN], { encoding: "utf8" });
    expect(stderr).toBe("");
    expect(stdout).toMatch(/^twin: \d{3} vectors of 2 files hold/);
    expect(status).toBe(0);
  });

  test("gives the golden file, byte for byte", () => {
    const { stdout } = spawnSync("python3", [TWIN, "--golden"], { encoding: "utf8" });
    const golden = new URL("../vectors/golden-tokens-and-masks.json", import.meta.url);
    expect(stdout).toBe(readFileSync(golden, "utf8"));
  });

  // One seed that never changes, and one that always does: the title prints it for replay.
  test.each([1, Math.floor(Math.random() * 2 ** 31)])(
    `agrees with us on ${CASES} random cases of each sort, seed %i`,
    (seed) => {
      const { status, stdout } = spawnSync(
        "python3",
        [TWIN, "--random", `${CASES}`, "--seed", `${seed}`],
        { encoding: "utf8", maxBuffer: 2 ** 28 },
      );
      expect(status).toBe(0);
      const vectors = JSON.parse(stdout) as Vectors;
      expect(vectors.masks).toHaveLength(CASES);
      for (const [sort, check] of Object.entries(agreesWith)) {
        expect(vectors, sort).toHaveProperty(sort);
        check(vectors);
      }
    },
  );
});
