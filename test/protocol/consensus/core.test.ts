import { describe, expect, test } from "vitest";
import { ConsensusLoop } from "../../support/consensus-loop.ts";

describe("validators that are all honest", () => {
  test.each([1, 2, 3, 4, 7])("%i of them agree, and every round commits", (size) => {
    const loop = new ConsensusLoop({
      size,
      seed: size,
      parameters: { leadersPerRound: Math.min(2, size) },
    });
    loop.run(10_000);
    const rounds = loop.node(0).core.progress.clockRound;
    expect(rounds).toBeGreaterThan(100);
    expect(loop.agreed()).toBeGreaterThan(rounds * Math.min(2, size) * 0.9);
  });
});
