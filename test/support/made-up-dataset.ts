/** A small dataset in memory: concepts with drawings and names, no files. */
import type { Dataset, Example, Split } from "../../datasets/dataset.ts";
import { datasetDigest, labelsOf } from "../../datasets/digest.ts";
import { seededRng } from "../../tokenizers/random.ts";

export interface MadeUpOptions {
  readonly groupCount: number;
  readonly variants?: readonly (string | undefined)[];
  readonly textVariants?: readonly string[];
  readonly labels?: readonly string[];
  readonly splitOf?: (groupIndex: number) => Split;
}

/** Every fifth group is test, every other one train, unless told otherwise. Pictures are 32×32, noise around a colour of the group. */
export async function madeUpDataset(options: MadeUpOptions): Promise<Dataset> {
  const { groupCount, variants = ["a", "b", "c"], textVariants = [] } = options;
  const labels = options.labels ?? ["red", "green"];
  const splitOf = options.splitOf ?? ((i: number): Split => (i % 5 === 0 ? "test" : "train"));
  const examples: Example[] = [];
  for (let i = 0; i < groupCount; i++) {
    const rng = seededRng(i, "made-up");
    const label = labels[i % Math.max(1, labels.length)];
    const shared = {
      group: `g${i}`,
      split: splitOf(i),
      ...(label === undefined ? {} : { label }),
    };
    const color = [rng.uniform(256), rng.uniform(256), rng.uniform(256)];
    variants.forEach((variant, v) => {
      const pixels = Uint8Array.from(
        { length: 32 * 32 * 3 },
        (_, at) => ((color[at % 3] ?? 0) * 3 + noise(at, 3 * i + v)) / 4,
      );
      examples.push({
        id: `g${i}/${variant ?? v}`,
        ...shared,
        image: { kind: "pixels", width: 32, height: 32, pixels },
        ...(variant === undefined ? {} : { variant }),
      });
    });
    for (const variant of textVariants) {
      examples.push({
        id: `g${i}/${variant}`,
        ...shared,
        text: `${label ?? "thing"} number${i} ${variant}`,
        variant,
      });
    }
  }
  return {
    name: "made-up",
    description: "for tests",
    licence: "none",
    examples,
    labels: labelsOf(examples),
    digest: await datasetDigest(examples),
    trusted: true,
  };
}

/** 0 … 255, without a pattern that an eye or an average of pixels would see. Much faster than drawing each one. */
function noise(at: number, picture: number): number {
  let mixed = Math.imul(at + 1, 0x9e3779b1) ^ Math.imul(picture + 1, 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 15), 0x2c1b3c6d);
  return (mixed ^ (mixed >>> 13)) >>> 24;
}
