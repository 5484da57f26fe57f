import fc from "fast-check";
import { expect, test } from "vitest";
import {
  chanceScore,
  meanScore,
  positiveRanks,
  retrievalScore,
} from "../../../bench/quality/retrieval.ts";
import { seededRng } from "../../../tokenizers/random.ts";

test("ranks of the nearest positive, counted by hand", () => {
  // Three queries a, b, c against candidates a, b, b, d.
  const similarities = Float32Array.of(
    ...[0.9, 0.8, 0.1, 0.2], // a is first
    ...[0.5, 0.1, 0.4, 0.6], // the nearer b has two above it
    ...[0.5, 0.1, 0.4, 0.6], // c has no positive
  );
  const ranks = positiveRanks(similarities, ["a", "b", "c"], ["a", "b", "b", "d"]);
  expect(Array.from(ranks)).toEqual([1, 3, 0]);
  expect(retrievalScore(similarities, ["a", "b", "c"], ["a", "b", "b", "d"])).toEqual({
    r1: 0.5,
    r5: 1,
    r10: 1,
    mrr: (1 + 1 / 3) / 2,
    queries: 2,
    candidates: 4,
  });
});

test("a tie with a negative counts against the encoder, a tie of two positives does not", () => {
  expect(Array.from(positiveRanks(Float32Array.of(0.5, 0.5), ["a"], ["a", "b"]))).toEqual([2]);
  expect(Array.from(positiveRanks(Float32Array.of(0.5, 0.5), ["a"], ["a", "a"]))).toEqual([1]);
});

test("an encoder that maps everything to one point finds nothing", () => {
  const groups = Array.from({ length: 30 }, (_, i) => String(i));
  const score = retrievalScore(new Float32Array(900).fill(1), groups, groups);
  expect(score?.r10).toBe(0);
  expect(score?.mrr).toBeCloseTo(1 / 30);
});

test("a similarity that is not a number is the least of all", () => {
  expect(Array.from(positiveRanks(Float32Array.of(Number.NaN, 0), ["a"], ["a", "b"]))).toEqual([2]);
});

test("perfect similarities score 1 everywhere", () => {
  const groups = Array.from({ length: 20 }, (_, i) => String(i));
  const similarities = Float32Array.from({ length: 400 }, (_, i) => (i % 21 === 0 ? 1 : 0));
  expect(retrievalScore(similarities, groups, groups)).toMatchObject({
    r1: 1,
    r5: 1,
    r10: 1,
    mrr: 1,
  });
});

test("the order of queries and of candidates does not matter", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 6 }),
      fc.integer({ min: 1, max: 9 }),
      fc.integer({ min: 0, max: 1000 }),
      (n, m, seed) => {
        const rng = seededRng(seed, "test");
        const queryGroups = Array.from({ length: n }, () => String(rng.uniform(4)));
        const candidateGroups = Array.from({ length: m }, () => String(rng.uniform(4)));
        const value = Float32Array.from({ length: n * m }, () => rng.uniform(5) / 5); // many ties
        const queries = rng.sample(n, n);
        const candidates = rng.sample(m, m);
        const permuted = Float32Array.from({ length: n * m }, (_, at) => {
          const q = queries[Math.floor(at / m)] ?? 0;
          return value[q * m + (candidates[at % m] ?? 0)] ?? 0;
        });
        const first = retrievalScore(value, queryGroups, candidateGroups);
        const second = retrievalScore(
          permuted,
          Array.from(queries, (q) => queryGroups[q] ?? ""),
          Array.from(candidates, (c) => candidateGroups[c] ?? ""),
        );
        expect(second?.r1).toBe(first?.r1);
        expect(second?.r5).toBe(first?.r5);
        expect(second?.mrr ?? 0).toBeCloseTo(first?.mrr ?? 0, 12);
      },
    ),
  );
});

test("random similarities score what chance is said to score", () => {
  const rng = seededRng(1, "chance");
  const candidates = 40;
  const positives = 3;
  const groups = Array.from({ length: candidates }, (_, i) => (i < positives ? "own" : String(i)));
  const trials = 4000;
  const similarities = Float32Array.from({ length: trials * candidates }, () => rng.unit());
  const score = retrievalScore(
    similarities,
    Array.from({ length: trials }, () => "own"),
    groups,
  );
  const chance = chanceScore({ queries: trials, candidates, positives });
  // Four standard errors of a share over 4,000 trials are at most 3.2 points.
  expect(Math.abs((score?.r1 ?? 0) - chance.r1)).toBeLessThan(0.02);
  expect(Math.abs((score?.r10 ?? 0) - chance.r10)).toBeLessThan(0.032);
  expect(Math.abs((score?.mrr ?? 0) - chance.mrr)).toBeLessThan(0.02);
  expect(chance.r1).toBeCloseTo(3 / 40);
});

test("chance with as many positives as candidates is certainty", () => {
  expect(chanceScore({ queries: 1, candidates: 4, positives: 4 })).toMatchObject({
    r1: 1,
    r10: 1,
    mrr: 1,
  });
});

test("a mean over pairings leaves out those without a query", () => {
  const score = { r1: 0.2, r5: 0.4, r10: 0.6, mrr: 0.3, queries: 10, candidates: 20 };
  expect(meanScore([score, undefined, { ...score, r1: 0.4 }])?.r1).toBeCloseTo(0.3);
  expect(meanScore([undefined])).toBeUndefined();
});
