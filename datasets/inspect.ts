/** What is in a dataset: counts, sizes, lengths, and what lies in more than one split. Pure, prints nothing. */
import { SPLITS, type Dataset, type Example, type Split } from "./dataset.ts";
import { imageHash } from "./digest.ts";
import type { ImageStore, SkippedPicture } from "./image-store.ts";

/** Leaks listed in a report; all are counted. */
const LEAKS_LISTED_MAX = 20;

export interface Spread {
  readonly min: number;
  readonly median: number;
  readonly max: number;
}

export interface SplitCounts {
  readonly examples: number;
  readonly groups: number;
  readonly texts: number;
  readonly pictures: number;
}

/** One content that lies in two or more splits. */
export interface Leak {
  readonly ids: readonly string[];
  readonly splits: readonly Split[];
}

export interface DatasetReport {
  readonly name: string;
  readonly description: string;
  readonly licence: string;
  readonly digest: string;
  readonly splits: Readonly<Record<Split, SplitCounts>>;
  /** Label → examples, most frequent first. */
  readonly labels: Readonly<Record<string, number>>;
  /** Variant → examples, most frequent first. */
  readonly variants: Readonly<Record<string, number>>;
  /** Before scaling, in pixels; undefined without pictures. */
  readonly pictures:
    | {
        readonly count: number;
        readonly distinct: number;
        readonly width: Spread;
        readonly height: Spread;
        readonly corrupt: readonly SkippedPicture[];
      }
    | undefined;
  /** Lengths in characters (code points); undefined without texts. */
  readonly texts:
    { readonly count: number; readonly distinct: number; readonly length: Spread } | undefined;
  /** The same picture, byte for byte, in more than one split: what is tested was trained on. */
  readonly pictureLeaks: { readonly count: number; readonly listed: readonly Leak[] };
  /** Texts of more than one split. Often harmless: two concepts may share a name. */
  readonly textLeakCount: number;
}

/** @param images the pictures of all examples, decoded; undefined if the dataset has none */
export async function inspectDataset(
  dataset: Dataset,
  images: ImageStore | undefined,
): Promise<DatasetReport> {
  const { name, description, licence, digest, examples } = dataset;
  const pictured = examples.filter(({ image }) => image !== undefined);
  const worded = examples.filter(({ text }) => text !== undefined);
  const byPicture = new Map<string, Example[]>();
  for (const example of pictured) {
    if (example.image !== undefined) push(byPicture, await imageHash(example.image), example);
  }
  const byText = new Map<string, Example[]>();
  for (const example of worded) push(byText, example.text ?? "", example);
  const pictureLeaks = leaksOf(byPicture);
  const sizes = pictured.flatMap(({ id }) => (images?.has(id) === true ? [images.get(id)] : []));
  return {
    name,
    description,
    licence,
    digest,
    splits: countSplits(examples),
    labels: frequencies(examples.map(({ label }) => label)),
    variants: frequencies(examples.map(({ variant }) => variant)),
    pictures:
      pictured.length === 0
        ? undefined
        : {
            count: pictured.length,
            distinct: byPicture.size,
            width: spread(sizes.map(({ sourceWidth }) => sourceWidth)),
            height: spread(sizes.map(({ sourceHeight }) => sourceHeight)),
            corrupt: images?.skipped ?? [],
          },
    texts:
      worded.length === 0
        ? undefined
        : {
            count: worded.length,
            distinct: byText.size,
            length: spread(worded.map(({ text }) => Array.from(text ?? "").length)),
          },
    pictureLeaks: { count: pictureLeaks.length, listed: pictureLeaks.slice(0, LEAKS_LISTED_MAX) },
    textLeakCount: leaksOf(byText).length,
  };
}

function countSplits(examples: readonly Example[]): Record<Split, SplitCounts> {
  const count = (split: Split): SplitCounts => {
    const own = examples.filter((example) => example.split === split);
    return {
      examples: own.length,
      groups: new Set(own.map(({ group }) => group)).size,
      texts: own.filter(({ text }) => text !== undefined).length,
      pictures: own.filter(({ image }) => image !== undefined).length,
    };
  };
  return { train: count("train"), validation: count("validation"), test: count("test") };
}

/** Contents of more than one split. */
function leaksOf(byContent: ReadonlyMap<string, readonly Example[]>): Leak[] {
  const leaks: Leak[] = [];
  for (const examples of byContent.values()) {
    const own = new Set(examples.map(({ split }) => split));
    if (own.size < 2) continue;
    const splits = SPLITS.filter((split) => own.has(split));
    leaks.push({ ids: examples.map(({ id }) => id), splits });
  }
  return leaks;
}

function frequencies(values: readonly (string | undefined)[]): Record<string, number> {
  const counts = new Map<string, number>();
  for (const value of values) {
    if (value !== undefined) counts.set(value, (counts.get(value) ?? 0) + 1);
  }
  const sorted = [...counts].sort(
    ([a, countA], [b, countB]) => countB - countA || (a < b ? -1 : 1),
  );
  return Object.fromEntries(sorted);
}

function spread(values: readonly number[]): Spread {
  const sorted = Float64Array.from(values).sort();
  const at = (index: number): number => sorted[index] ?? 0;
  return { min: at(0), median: at(sorted.length >> 1), max: at(sorted.length - 1) };
}

/** Add to the list under a key. */
function push<T>(map: Map<string, T[]>, key: string, value: T): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [value]);
  else list.push(value);
}
