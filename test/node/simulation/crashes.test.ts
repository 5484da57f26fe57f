/** A validator dies before each single thing that it asks of the world, and while it starts again: nothing is lost. */
import { describe, expect, test } from "vitest";
import { type Micros, MS } from "../../../node/simulation/event-queue.ts";
import { type FaultPlan, parseFaults } from "../../../node/simulation/faults.ts";
import { simulate, type SimulationResult } from "../../../node/simulation/simulate.ts";

const CRASH_AT: Micros = 600 * MS;
const HEAL_AT: Micros = 1600 * MS;
/** Things that a validator asks for in some ten rounds: sends, timers, appends, flushes, writes, syncs, commits. */
const EFFECTS = 160;
/** More than it asks for while it opens its log, replays it and greets its peers. */
const OPENING_EFFECTS = 40;

interface Crash {
  readonly effects: number;
  readonly isPowerLost: boolean;
  readonly againAfter?: number;
}

function runWith({ effects, isPowerLost, againAfter }: Crash): SimulationResult {
  return simulate({
    seed: 1,
    validators: 4,
    rounds: 20,
    faults: parseFaults("crash"),
    plan: (drawn): FaultPlan => ({
      ...drawn,
      timed: [
        {
          kind: "crash",
          cause: "crash",
          at: CRASH_AT,
          validator: 0,
          effects,
          isPowerLost,
          downFor: 50 * MS,
          loses: "nothing",
          ...(againAfter === undefined ? {} : { againAfter }),
        },
      ],
      healAt: HEAL_AT,
    }),
  });
}

function expectSound(result: SimulationResult, deaths: number, what: string): void {
  expect(result.violations, what).toEqual([]);
  expect(result.injected, what).toEqual({ crash: deaths });
}

describe.each([
  ["its process", false],
  ["its machine", true],
])("a validator that loses %s", (_what, isPowerLost) => {
  test(`before any of ${EFFECTS} things that it asks for comes back, and nothing is lost or said twice`, () => {
    for (let effects = 0; effects < EFFECTS; effects++) {
      expectSound(runWith({ effects, isPowerLost }), 1, `before effect ${effects}`);
    }
  });

  test("again while it opens its log or greets its peers comes back all the same", () => {
    for (let againAfter = 0; againAfter < OPENING_EFFECTS; againAfter++) {
      const crash = { effects: 37, isPowerLost, againAfter };
      expectSound(runWith(crash), 2, `again before effect ${againAfter}`);
    }
  });
});
