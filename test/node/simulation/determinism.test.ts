/**
 * One seed is one run: byte for byte in one process and in another, on every machine and version of Node. What changes a
 * run on purpose (a rule of the protocol, a draw of the simulator) changes the digests below, and nothing else may.
 */
import { afterEach, describe, expect, test, vi } from "vitest";
import { parseFaults } from "../../../node/simulation/faults.ts";
import { simulate, type SimulationResult } from "../../../node/simulation/simulate.ts";

interface Traced {
  readonly result: SimulationResult;
  readonly lines: string;
}

function run(seed: number, validators: number, rounds: number, faults: string): Traced {
  const lines: string[] = [];
  const result = simulate({
    seed,
    validators,
    rounds,
    faults: parseFaults(faults),
    sink: (line) => lines.push(line),
  });
  return { result, lines: lines.join("\n") };
}

afterEach(() => {
  vi.restoreAllMocks();
});

describe("a run", () => {
  test("is the same twice, in everything that it tells", () => {
    const [first, second] = [run(3, 4, 60, "all"), run(3, 4, 60, "all")];
    expect(first.lines.length).toBeGreaterThan(50_000);
    expect(second.lines === first.lines).toBe(true);
    expect(second.result).toEqual(first.result);
  });

  test("is the same whether its trace is read or not", () => {
    const faults = parseFaults("all");
    const quiet = simulate({ seed: 3, validators: 4, rounds: 60, faults });
    expect(quiet).toEqual(run(3, 4, 60, "all").result);
  });

  test("is another one for another seed", () => {
    const digests = [1, 2, 3, 4, 5].map((seed) => run(seed, 4, 20, "none").result.digest);
    expect(new Set(digests).size).toBe(5);
  });

  test("looks at no clock and draws nothing but from its seed", () => {
    const expected = run(5, 4, 30, "all").result;
    const forbidden = (): never => {
      throw new Error("a run asked the machine");
    };
    vi.spyOn(Date, "now").mockImplementation(forbidden);
    vi.spyOn(Math, "random").mockImplementation(forbidden);
    vi.spyOn(performance, "now").mockImplementation(forbidden);
    vi.spyOn(process, "hrtime").mockImplementation(forbidden);
    vi.spyOn(globalThis, "setTimeout").mockImplementation(forbidden);
    vi.spyOn(globalThis, "setImmediate").mockImplementation(forbidden);
    const result = simulate({ seed: 5, validators: 4, rounds: 30, faults: parseFaults("all") });
    vi.restoreAllMocks();
    expect(result).toEqual(expected);
  });
});

describe("the digest of", () => {
  test.each([
    [1, 10, 30, "none", "4829dd66e1f89c2555f8fb0045feff0d581a767fdfe4f48def8f3ac0df099b36"],
    [7, 4, 60, "all", "8305a63243c374ca9bb66369eeb14150984a9b9888e77197c031c0f204aa6dad"],
    [
      11,
      7,
      40,
      "twins,loss,crash,disk,skew",
      "29d27e0f23c3a2a34008a39f7125d01e81f381fb6ac4583c11d798a63b7c3257",
    ],
  ])(
    "seed %i, %i validators, %i rounds, faults %s is the same everywhere",
    (seed, validators, rounds, faults, digest) => {
      expect(run(seed, validators, rounds, faults).result.digest).toBe(digest);
    },
  );
});
