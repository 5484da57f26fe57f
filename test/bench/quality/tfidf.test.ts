import { expect, test } from "vitest";
import { innerProducts } from "../../../bench/quality/matrix.ts";
import { TfIdf, terms } from "../../../bench/quality/tfidf.ts";
import { EVALUATION_VECTORS } from "../../support/evaluation-vectors.ts";

const { tfidf } = EVALUATION_VECTORS;

test("the vocabulary of words and pairs is scikit-learn's", () => {
  expect(new Set(tfidf.train.flatMap(terms))).toEqual(new Set(tfidf.terms));
});

test("cosines agree with scikit-learn's, unseen words and empty texts too", () => {
  const model = TfIdf.fit(tfidf.train);
  expect(model.dimension).toBe(tfidf.terms.length);
  const train = model.transform(tfidf.train);
  for (const [texts, expected] of [
    [tfidf.train, tfidf.trainCosines],
    [tfidf.test, tfidf.testCosines],
  ] as const) {
    const cosines = innerProducts(model.transform(texts), train);
    expected.flat().forEach((value, i) => {
      expect(Math.abs((cosines[i] ?? 0) - value)).toBeLessThan(1e-6);
    });
  }
});
