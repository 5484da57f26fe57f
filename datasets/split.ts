/**
 * Which split a group belongs to: decided by the group's own hash, so that adding or removing other data
 * never moves it, and all rows of a group stay together. A manifest's own split column wins over this.
 */
import { taggedHash, u32 } from "../tokenizers/hash.ts";
import { SPLITS, type Dataset, type Example, type Split } from "./dataset.ts";
import { SomaError } from "../base/errors.ts";
import { nearestName } from "../base/nearest.ts";

/** Fractions of the hash space, in this order: test, validation, and train is the rest. */
export const TEST_FRACTION = 0.2;
export const VALIDATION_FRACTION = 0.05;

/**
 * Where in the hash space a group falls: H("split", salt, group) as a fraction, 0 ≤ x < 1.
 * @param datasetSalt the dataset's name, so that one name in two datasets is drawn independently
 */
export function splitFraction(datasetSalt: string, group: string): number {
  const salt = new TextEncoder().encode(datasetSalt);
  const hash = taggedHash("split", u32(salt.length), salt, new TextEncoder().encode(group));
  return new DataView(hash.buffer, hash.byteOffset).getUint32(0, true) / 2 ** 32;
}

/** The split of `group`: the first fifth of the hash space is test, the next twentieth validation, the rest train. */
export function splitOf(datasetSalt: string, group: string): Split {
  return splitAt(splitFraction(datasetSalt, group));
}

/** The split at a fraction of the hash space. */
export function splitAt(fraction: number): Split {
  if (fraction < TEST_FRACTION) return "test";
  if (fraction < TEST_FRACTION + VALIDATION_FRACTION) return "validation";
  return "train";
}

/** `splitOf` that hashes each group once: datasets have many rows of one group. */
export function splitter(datasetSalt: string): (group: string) => Split {
  const known = new Map<string, Split>();
  return (group) => {
    let split = known.get(group);
    if (split === undefined) {
      split = splitOf(datasetSalt, group);
      known.set(group, split);
    }
    return split;
  };
}

/**
 * For groups that must not be parted: each key → the smallest key that it is connected to through shared
 * things (two keys with one `shared` are connected, and so on along the chain). Split by that one's hash.
 * @param links one for each thing that a key has
 */
export function joinedKeys(
  links: Iterable<{ readonly key: string; readonly shared: string }>,
): Map<string, string> {
  const parents = new Map<string, string>();
  const rootOf = (key: string): string => {
    let root = key;
    for (let up = parents.get(root); up !== undefined && up !== root; up = parents.get(root)) {
      root = up;
    }
    return root;
  };
  const owners = new Map<string, string>();
  for (const { key, shared } of links) {
    if (!parents.has(key)) parents.set(key, key);
    const owner = owners.get(shared);
    if (owner === undefined) {
      owners.set(shared, key);
      continue;
    }
    const [a, b] = [rootOf(owner), rootOf(key)];
    if (a < b) parents.set(b, a);
    else parents.set(a, b);
  }
  return new Map([...parents.keys()].map((key) => [key, rootOf(key)]));
}

/** Other names people give to the three splits. */
const SPLIT_ALIASES: Readonly<Record<string, Split>> = {
  training: "train",
  val: "validation",
  valid: "validation",
  dev: "validation",
  eval: "validation",
  testing: "test",
};

/** The split a name means ("train", "val", "dev" …), or undefined. */
export function parseSplit(name: string): Split | undefined {
  const lower = name.trim().toLowerCase();
  return SPLITS.find((split) => split === lower) ?? SPLIT_ALIASES[lower];
}

/** The split a user named. @throws SomaError SPLIT_UNKNOWN (usage) naming the nearest one */
export function requireSplitName(name: string): Split {
  const split = parseSplit(name);
  if (split !== undefined) return split;
  const nearest = nearestName(name, SPLITS) ?? SPLITS.join(", ");
  throw new SomaError({
    code: "SPLIT_UNKNOWN",
    kind: "usage",
    what: `there is no split "${name}"`,
    next: `did you mean ${nearest}?`,
  });
}

/** The examples of one split. @throws SomaError SPLIT_EMPTY (usage) if there are none */
export function requireSplit(dataset: Dataset, split: Split): readonly Example[] {
  const examples = dataset.examples.filter((example) => example.split === split);
  if (examples.length > 0) return examples;
  const filled = SPLITS.filter((name) =>
    dataset.examples.some((example) => example.split === name),
  );
  throw new SomaError({
    code: "SPLIT_EMPTY",
    kind: "usage",
    what: `dataset ${dataset.name} has no ${split} examples (it has ${filled.length === 0 ? "none at all" : filled.join(" and ")})`,
    next: `add rows with split "${split}", or leave the split column out: groups are then divided by their hash`,
  });
}

/** The labels of a dataset that a probe can learn. @throws SomaError ONE_CLASS (usage) if fewer than two */
export function requireClasses(dataset: Dataset): readonly string[] {
  if (dataset.labels.length >= 2) return dataset.labels;
  throw new SomaError({
    code: "ONE_CLASS",
    kind: "usage",
    what:
      dataset.labels.length === 0
        ? `dataset ${dataset.name} has no labels`
        : `dataset ${dataset.name} has one class only ("${dataset.labels[0] ?? ""}")`,
    next: "give at least two different values in the label column, or ask only for retrieval",
  });
}
