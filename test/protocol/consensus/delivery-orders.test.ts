import { expect, test } from "vitest";
import { toHex } from "../../../protocol/base/bytes.ts";
import { seededRng } from "../../../tokenizers/random.ts";
import { drawnCommittee } from "../../../node/conformance/drawn-dag.ts";
import { deliver, randomDag, shuffled } from "../../support/random-dag.ts";

/**
 * The full check, 100 orders of 4 × 6,000 and 7 × 2,000 rounds: SOMA_DAG_ORDERS=100. Every suite run: a few short ones.
 */
const ORDERS = Number(process.env["SOMA_DAG_ORDERS"] ?? 0);
const IS_FULL = ORDERS > 0;
const ORDER_COUNT = IS_FULL ? ORDERS : 8;

test.each([
  {
    size: 4,
    roundCount: IS_FULL ? 6000 : 200,
    equivocatorCount: 1,
    leaders: 1,
    gcDepth: 60,
    absence: 0.1,
    density: 1,
  },
  {
    size: 4,
    roundCount: IS_FULL ? 6000 : 200,
    equivocatorCount: 1,
    leaders: 2,
    gcDepth: 6,
    absence: 0.3,
    density: 0.5,
  },
  {
    size: 7,
    roundCount: IS_FULL ? 2000 : 120,
    equivocatorCount: 2,
    leaders: 2,
    gcDepth: 6,
    absence: 0.1,
    density: 0.8,
  },
  {
    size: 7,
    roundCount: IS_FULL ? 2000 : 120,
    equivocatorCount: 2,
    leaders: 3,
    gcDepth: 3,
    absence: 0.2,
    density: 0.2,
  },
])(
  "$size validators, $equivocatorCount of them with twins: every order of delivery gives one sequence ($leaders leaders, gc $gcDepth)",
  { timeout: IS_FULL ? 3_600_000 : 60_000 },
  ({ size, roundCount, equivocatorCount, leaders, gcDepth, absence, density }) => {
    const committee = drawnCommittee(size);
    const rng = seededRng(size * 10 + leaders, "delivery-orders");
    const blocks = randomDag({ committee, roundCount, equivocatorCount, absence, density, rng });
    const options = { committee, leadersPerRound: leaders, gcDepth };
    const inOrder = deliver(blocks, options);
    expect(inOrder.length).toBeGreaterThan(roundCount / 3);
    for (let order = 0; order < ORDER_COUNT; order++) {
      const commits = deliver(shuffled(blocks, rng), options);
      expect(commits.length).toBe(inOrder.length);
      expect(toHex(commits.at(-1)?.digest ?? new Uint8Array())).toBe(
        toHex(inOrder.at(-1)?.digest ?? new Uint8Array()),
      );
    }
  },
);
