/** Each fault happens when it is asked for, and is borne; what is asked for wrongly is refused. */
import { describe, expect, test } from "vitest";
import { SomaError } from "../../../base/errors.ts";
import { SECOND } from "../../../node/simulation/event-queue.ts";
import { drawPlan } from "../../../node/simulation/fault-plan.ts";
import { FAULT_KINDS, parseFaults } from "../../../node/simulation/faults.ts";
import { takeSeats } from "../../../node/simulation/seats.ts";
import { simulate } from "../../../node/simulation/simulate.ts";

describe("each fault alone", () => {
  test.each(FAULT_KINDS)("%s happens, is counted, and breaks nothing", (kind) => {
    const faults = parseFaults(kind);
    const run = simulate({ seed: 2, validators: 7, rounds: 60, faults });
    expect(run.faults).toEqual([kind]);
    expect(run.violations).toEqual([]);
    expect(Object.keys(run.injected)).toEqual([kind]);
    expect(run.injected[kind]).toBeGreaterThan(0);
    expect(run.healedMs).toBeGreaterThan(0);
  });

  test("none is none at all", () => {
    const run = simulate({ seed: 2, validators: 4, rounds: 40, faults: parseFaults("none") });
    expect([run.faults, run.injected, run.violations]).toEqual([[], {}, []]);
    expect(run.commits).toBeGreaterThan(60); // two leaders a round
  });
});

describe("a plan", () => {
  const { committee } = takeSeats([2, 5, 3, 4, 2, 3, 5]);
  const planOf = (seed: number): ReturnType<typeof drawPlan> =>
    drawPlan({ seed, allowed: parseFaults("all"), committee, horizon: 10 * SECOND });
  const plans = Array.from({ length: 200 }, (_, seed) => planOf(seed));

  test("is the same for the same seed", () => {
    expect(planOf(7)).toEqual(planOf(7));
    expect(planOf(7)).not.toEqual(planOf(8));
  });

  test("switches on some of all faults, each for some seeds and not for others", () => {
    for (const kind of FAULT_KINDS) {
      const count = plans.filter(({ kinds }) => kinds.includes(kind)).length;
      expect(count, kind).toBeGreaterThan(80);
      expect(count, kind).toBeLessThan(180);
    }
  });

  test("has faulty and forgetful validators of no more stake than a committee bears", () => {
    for (const { faulty, timed } of plans) {
      const forgetful = timed.flatMap((fault) =>
        fault.kind === "crash" && fault.cause === "amnesia" ? fault.validator : [],
      );
      const bad = new Set([...faulty.keys(), ...forgetful]);
      const stake = [...bad].reduce((sum, index) => sum + committee.stake(index), 0);
      expect(stake).toBeLessThanOrEqual(committee.totalStake - committee.quorum);
    }
  });

  test("heals when the last of its faults is over", () => {
    for (const { timed, healAt } of plans) {
      for (const fault of timed) {
        const lasts = fault.kind === "pause" ? fault.lasts : 0;
        expect(fault.at + lasts).toBeLessThanOrEqual(healAt);
      }
    }
  });

  test("mends every link that it cuts, and lets go on every link that it stops", () => {
    for (const { timed } of plans) {
      const open = new Map<string, number>();
      for (const fault of timed) {
        if (!("link" in fault)) continue;
        const { kind, link } = fault;
        const isBad = kind === "cut" || kind === "hold";
        const way = kind === "cut" || kind === "mend" ? "cut" : "held";
        const key = `${way} ${link.from} → ${link.to}`;
        open.set(key, (open.get(key) ?? 0) + (isBad ? 1 : -1));
      }
      expect([...open.values()].every((count) => count === 0)).toBe(true);
    }
  });
});

describe("the list of faults", () => {
  test("takes names with commas and spaces between them", () => {
    expect(parseFaults("twins, loss")).toEqual({ kinds: ["twins", "loss"], areDrawn: false });
  });

  test.each([
    ["twin", "did you mean twins?"],
    ["xyzzyxyzzy", "say all, none, or some of latency, loss"],
    ["", "say all, none, or some of"],
  ])("refuses %j and says what to say", (text, next) => {
    const attempt = (): unknown => parseFaults(text);
    expect(attempt).toThrow(SomaError);
    expect(attempt).toThrow(
      expect.objectContaining({
        code: "UNKNOWN_FAULT",
        kind: "usage",
        next: expect.stringContaining(next) as string,
      }) as Error,
    );
  });
});
