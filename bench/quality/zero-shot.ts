/**
 * Zero-shot classification: a picture belongs to the class whose written name lies nearest to it. No labelled
 * example is used here; whether training saw the classes' names (the `labels` setting of objectives) is the recipe's
 * business and to be said beside the figure. Source: CLIP (arXiv 2103.00020), with the bare name as the only prompt.
 */
import { assert } from "../../base/errors.ts";

/**
 * Share of rows whose own class is strictly nearest: ties count against us.
 * @param similarities Float32Array [rows × classes]
 * @returns in 0 … 1; undefined without rows or with fewer than two classes
 */
export function zeroShotAccuracy(
  similarities: Float32Array,
  labels: readonly string[],
  classes: readonly string[],
): number | undefined {
  const k = classes.length;
  assert(similarities.length === labels.length * k, "one similarity per row and class is needed");
  if (labels.length === 0 || k < 2) return undefined;
  let right = 0;
  labels.forEach((label, i) => {
    const row = similarities.subarray(i * k, (i + 1) * k);
    const own = row[classes.indexOf(label)];
    if (own === undefined || Number.isNaN(own)) return;
    if (classes.every((name, c) => name === label || (row[c] ?? 0) < own)) right++;
  });
  return right / labels.length;
}
