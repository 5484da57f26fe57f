/** `soma simulate` in a process of its own: what it prints, writes and ends with. */
import { spawnSync } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Command } from "commander";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { registerSimulateCommand } from "../../../node/simulate-command.ts";
import { parseFaults } from "../../../node/simulation/faults.ts";
import { simulate } from "../../../node/simulation/simulate.ts";
import { transpileSources } from "../../support/transpile.ts";
import { PLANTED_BUGS } from "./planted-bugs.ts";

let program: string;
let folder: string;

beforeAll(async () => {
  program = await transpileSources();
  folder = await mkdtemp(join(tmpdir(), "soma-simulate-"));
});

afterAll(async () => {
  await rm(program, { recursive: true });
  await rm(folder, { recursive: true });
});

interface Ended {
  readonly code: number | null;
  readonly out: string;
  readonly errors: string;
}

function soma(...argv: readonly string[]): Ended {
  const child = spawnSync(process.execPath, [join(program, "cli.js"), "simulate", ...argv], {
    encoding: "utf8",
  });
  return { code: child.status, out: child.stdout, errors: child.stderr };
}

const SMALL = ["--validators", "4", "--rounds", "30"];

describe("soma simulate", () => {
  test("prints what a run came to, the same as in this process", () => {
    const { code, out } = soma("--seed", "3", ...SMALL, "--faults", "all", "--json");
    const printed = JSON.parse(out) as Record<string, unknown>;
    const here = simulate({ seed: 3, validators: 4, rounds: 30, faults: parseFaults("all") });
    expect(code).toBe(0);
    expect(printed).toMatchObject({
      seed: 3,
      commits: here.commits,
      digest: here.digest,
      violations: [],
      healedMs: here.healedMs,
      injected: here.injected,
    });
  });

  test("writes a trace that a second run writes again byte for byte, and a drawing", async () => {
    const paths = ["a", "b"].map((name) => join(folder, `${name}.txt`));
    const drawings = ["a", "b"].map((name) => join(folder, `${name}.svg`));
    paths.forEach((path, i) => {
      const files = ["--trace", path, "--dag", drawings[i] ?? ""];
      expect(soma("--seed", "5", ...SMALL, ...files).code).toBe(0);
    });
    const [first, second] = await Promise.all(paths.map((path) => readFile(path, "utf8")));
    expect(first?.split("\n").length).toBeGreaterThan(1000);
    expect(first === second).toBe(true);
    const [one, other] = await Promise.all(drawings.map((path) => readFile(path, "utf8")));
    expect(one).toMatch(/^<svg .*<\/svg>\n$/s);
    expect(one === other).toBe(true);
  });

  test("sums up many seeds", () => {
    const { code, out } = soma("--seeds", "1..3", ...SMALL, "--json", "-q");
    const summary = JSON.parse(out) as Record<string, unknown>;
    expect(code).toBe(0);
    expect(summary).toMatchObject({ runs: 3, firstSeed: 1, lastSeed: 3, violations: 0 });
    expect(summary["injected"]).toBeTypeOf("object");
  });

  test.each([
    ["one seed", ["--seed", "1"], "violations"],
    ["many seeds", ["--seeds", "1..2", "-q"], "failedSeeds"],
  ])("ends with exit code 1 and says what is broken, of %s", async (_what, argv, key) => {
    const bug = PLANTED_BUGS.find(({ name }) => name === "an undecided slot is passed over");
    const takeOut = bug?.plant?.();
    let out = "";
    const stdout = vi.spyOn(process.stdout, "write").mockImplementation((text) => {
      out += String(text);
      return true;
    });
    const stderr = vi.spyOn(process.stderr, "write").mockReturnValue(true);
    try {
      const here = new Command("soma");
      registerSimulateCommand(here);
      await here.parseAsync(["simulate", ...argv, ...SMALL, "--json"], { from: "user" });
      expect(process.exitCode).toBe(1);
    } finally {
      stdout.mockRestore();
      stderr.mockRestore();
      takeOut?.();
      process.exitCode = undefined;
    }
    const printed = JSON.parse(out) as Record<string, unknown[]>;
    expect(printed[key]?.length).toBeGreaterThan(0);
  });

  test.each([
    [["--validators", "0"], "0 validators"],
    [["--validators", "1", "--faults", "none"], "1 validators cannot lead a round of 2 leaders"],
    [["--seed", "-1"], "It must be a whole number"],
    [["--rounds", "many"], "It must be a whole number"],
    [["--seeds", "5..2"], "the smaller first"],
    [["--faults", "twinz"], "did you mean twins?"],
    [["--seeds", "1..2", "--dag", "x.svg"], "many seeds make no trace and no drawing"],
    [["--trace", "no/such/folder/t.txt"], "no/such/folder/t.txt"],
    [["--dag", "x.svg", "--dag-of", "99", ...SMALL], "has no log to draw"],
  ])("refuses %j and says why", (argv, why) => {
    const { code, out, errors } = soma(...argv);
    expect(code).not.toBe(0);
    expect(out).toBe("");
    expect(errors).toContain(why);
    expect(errors).not.toContain("    at "); // no stack
  });
});
