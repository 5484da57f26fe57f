import { expect, test } from "vitest";
import {
  type OrdersOptions,
  runDeliveryOrders,
} from "../../../node/conformance/delivery-orders.ts";

/** The full size, 100 orders of 4 × 6,000 and 7 × 2,000 rounds: `soma conformance delivery-orders`. Here short ones. */
const ORDERS: readonly Omit<OrdersOptions, "orders">[] = [
  { validators: 4, rounds: 300, seed: 1, leadersPerRound: 1, gcDepth: 60 },
  { validators: 4, rounds: 300, seed: 2, leadersPerRound: 2, gcDepth: 6 },
  { validators: 7, rounds: 120, seed: 3, leadersPerRound: 2, gcDepth: 60 },
  { validators: 7, rounds: 120, seed: 4, leadersPerRound: 3, gcDepth: 3 },
  { validators: 10, rounds: 60, seed: 5, leadersPerRound: 10, gcDepth: 20 },
];

test.each(ORDERS)(
  "$validators validators, a third of them with twins: every order of delivery gives one sequence ($leadersPerRound leaders, gc $gcDepth)",
  (options) => {
    const result = runDeliveryOrders({ ...options, orders: 8 });
    expect(result.different).toEqual([]);
    expect(result.sequences).toBe(1);
    expect(result.equivocators).toBe(Math.floor((options.validators - 1) / 3));
    expect(result.blocks).toBeGreaterThan(options.rounds * options.validators);
    expect(result.commits).toBeGreaterThan(options.rounds / 3);
  },
);

test("the same seed gives the same sequence, another seed another", () => {
  const run = (seed: number): string =>
    runDeliveryOrders({
      validators: 4,
      rounds: 60,
      orders: 1,
      seed,
      leadersPerRound: 2,
      gcDepth: 60,
    }).digest;
  expect(run(1)).toBe(run(1));
  expect(run(1)).not.toBe(run(2));
});
