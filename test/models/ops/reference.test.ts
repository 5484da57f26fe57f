/** The oracles agree with each other: float64 in plain TypeScript with PyTorch, before either judges an op. */
import { expect, test } from "vitest";
import { expectedOf, readOpVectors, worst } from "../../support/ops-cases.ts";
import { reference } from "../../support/ops-reference.ts";

const { cases } = readOpVectors();

/** Both are float64; the file holds float32, and central differences are as good as that where numbers are of order 1. */
const TOLERANCE = 3e-7;

/**
 * Where f is steep, flat or large, differences of f say nothing about its slope: its value is compared alone. PyTorch
 * says the slope there.
 */
const WITHOUT_SLOPE = /1e4|magnitude|mean 1000|loud|equal numbers|zeros|largest scale|sure/;

test.each(cases.map((stored) => [`${stored.op}: ${stored.name}`, stored] as const))(
  "%s",
  (_title, stored) => {
    const actual = reference(stored);
    const expected = expectedOf(stored);
    const compared = WITHOUT_SLOPE.test(stored.name) ? { ...expected, gradients: {} } : expected;
    const { gap, where } = worst(stored, actual, compared);
    expect(gap, where).toBeLessThan(TOLERANCE);
  },
);
