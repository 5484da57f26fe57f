/** `soma conformance` in a process of its own: what it prints and ends with. */
import { spawnSync } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { runDeliveryOrders } from "../../../node/conformance/delivery-orders.ts";
import { transpileSources } from "../../support/transpile.ts";

let program: string;
let folder: string;

beforeAll(async () => {
  program = await transpileSources();
  folder = await mkdtemp(join(tmpdir(), "soma-conformance-"));
}, 60_000);

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
  const child = spawnSync(process.execPath, [join(program, "cli.js"), "conformance", ...argv], {
    encoding: "utf8",
  });
  return { code: child.status, out: child.stdout, errors: child.stderr };
}

describe("soma conformance delivery-orders", () => {
  const options = { validators: 4, rounds: 40, orders: 3, seed: 2 };
  const argv = Object.entries(options).flatMap(([name, value]) => [`--${name}`, String(value)]);

  test("prints one document, the same as in this process", () => {
    const { code, out } = soma("delivery-orders", ...argv, "--json");
    const here = runDeliveryOrders({ ...options, leadersPerRound: 2, gcDepth: 60 });
    expect(JSON.parse(out)).toMatchObject({ ...here, sequences: 1, different: [] });
    expect(code).toBe(0);
  });

  test("says it in a line for people", () => {
    const { out, errors } = soma("delivery-orders", ...argv, "-q");
    expect(out).toBe("");
    expect(errors).toContain("3 orders of");
    expect(errors).toContain("one sequence of");
  });

  test.each([
    [["--validators", "0"], "0 validators"],
    [["--rounds", "1000000"], "4 validators in 1000000 rounds"],
    [["--leaders", "5"], "5 leaders among 4 validators"],
    [["--gc-depth", "2"], "a gc depth of 2"],
  ])("refuses %j by name, exit code 2", (flags, says) => {
    const { code, errors } = soma("delivery-orders", ...flags);
    expect(code).toBe(2);
    expect(errors).toContain(`error[BAD_CHECK]: ${says}`);
  });
});

describe("soma conformance fuzz", () => {
  test("prints one document: every decoder, and what failed", () => {
    const { code, out } = soma("fuzz", "--cases", "3200", "--seed", "4", "--json");
    const result = JSON.parse(out) as { readonly decoders: readonly unknown[] };
    expect(result).toMatchObject({ cases: 3200, crashes: 0, overAllocations: 0, mismatches: 0 });
    expect(result).toMatchObject({ failures: [] });
    expect(result.decoders.length).toBe(16);
    expect(code).toBe(0);
  });
});

describe("soma conformance mysticeti", () => {
  test("ends with one line and exit code 2 where a file is wrong", async () => {
    const path = join(folder, "cases.json");
    await writeFile(path, '{"cases":[{"name":"mine","authorities":"four"}]}');
    const { code, out, errors } = soma("mysticeti", path, "--json");
    expect([code, out]).toEqual([2, ""]);
    expect(errors.trim().split("\n").length).toBe(1);
    expect(errors).toContain(`error[BAD_CONFIG]: ${path}: cases[0] "mine": authorities: `);
  });

  test("answers the shared cases, one document on stdout", () => {
    const { code, out } = soma("mysticeti", "test/vectors/mysticeti-cases.json", "--json");
    expect(code).toBe(0);
    expect((JSON.parse(out) as { readonly cases: readonly unknown[] }).cases.length).toBe(84);
  });
});
