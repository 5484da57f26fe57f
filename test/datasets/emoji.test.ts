import { beforeAll, describe, expect, test } from "vitest";
import { byGroup } from "../../datasets/batch.ts";
import type { Dataset } from "../../datasets/dataset.ts";
import { sequenceKey } from "../../datasets/emoji.ts";
import { loadDataset } from "../../datasets/registry.ts";

describe("the emoji set", () => {
  let emoji: Dataset;
  beforeAll(async () => {
    emoji = await loadDataset("emoji");
  });

  test("joins at least 1,650 concepts, each with exactly its three drawings", () => {
    const groups = byGroup(emoji.examples.filter(({ image }) => image !== undefined));
    expect(groups.size).toBeGreaterThanOrEqual(1650);
    expect(groups.size).toBe(1852); // as many as the pinned packages allow
    for (const members of groups.values()) {
      expect(members.map(({ variant }) => variant)).toEqual(["twemoji", "openmoji", "fluent"]);
    }
  });

  test("keeps everything about a concept in one split and one class", () => {
    for (const members of byGroup(emoji.examples).values()) {
      expect(new Set(members.map(({ split }) => split)).size).toBe(1);
      expect(new Set(members.map(({ label }) => label)).size).toBe(1);
    }
  });

  test("never has one drawing, byte for byte, in two splits", () => {
    const splits = new Map<string, string>();
    for (const { id, image, split } of emoji.examples) {
      if (image?.kind !== "file") continue;
      const hash = image.sha256 ?? id;
      expect(splits.get(hash) ?? split, id).toBe(split);
      splits.set(hash, split);
    }
  });

  test("names every concept in 28 languages, English first", () => {
    const languages = new Set<string>();
    for (const members of byGroup(emoji.examples).values()) {
      const texts = members.filter(({ text }) => text !== undefined);
      expect(texts[0]?.variant).toBe("en");
      const names = texts.filter(({ variant }) => variant?.endsWith("-tags") === false);
      expect(names).toHaveLength(28);
      for (const { variant } of names) languages.add(variant ?? "");
    }
    expect(languages.size).toBe(28);
  });

  test("has nine classes and neither skin tones nor components", () => {
    expect(emoji.labels).toEqual([
      "activities",
      "animals-nature",
      "flags",
      "food-drink",
      "objects",
      "people-body",
      "smileys-emotion",
      "symbols",
      "travel-places",
    ]);
    expect(emoji.examples.filter(({ group }) => /1F3F[B-F]/.test(group))).toEqual([]);
  });

  test("has unique ids, and the same digest each time", async () => {
    expect(new Set(emoji.examples.map(({ id }) => id)).size).toBe(emoji.examples.length);
    expect((await loadDataset("emoji")).digest).toBe(emoji.digest);
  });
});

test("packages' spellings of a sequence agree", () => {
  expect(sequenceKey("0023-FE0F-20E3")).toBe(sequenceKey("23-20e3"));
  expect(sequenceKey("2764-FE0F-200D-1F525")).toBe(sequenceKey("2764-200d-1f525"));
  expect(sequenceKey("00A9")).toBe(sequenceKey("a9-fe0f"));
});
