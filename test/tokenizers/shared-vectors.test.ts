/**
 * Vectors that an independent program computed from the protocol page, and our own golden ones of the edges.
 * Both files also hold in the Python twin (twin.test.ts).
 */
import { readFileSync } from "node:fs";
import { describe, test } from "vitest";
import { agreesWith, type Vectors } from "../support/mask-vectors.ts";

const RULES: readonly (readonly [keyof Vectors, string])[] = [
  ["hash", "a tagged hash is SHA-256 of its tag, a zero byte and its parts"],
  ["uniform", "uniform draws reject the words past the last whole multiple of the bound"],
  ["sample", "a sample is the head of a partial Fisher–Yates shuffle"],
  ["image", "a picture has the grid nearest to its size, under the cap"],
  ["video", "a clip keeps at most 16 frames, an even number, evenly chosen"],
  ["audio", "a recording has 8 units for each whole 160 ms of its first 10 s"],
  ["masks", "masks are the ones every encoder must derive"],
];

describe.each(["tokens-and-masks.json", "golden-tokens-and-masks.json"])("%s", (name) => {
  const url = new URL(`../vectors/${name}`, import.meta.url);
  const vectors = JSON.parse(readFileSync(url, "utf8")) as Vectors;

  test.each(RULES)("%s: %s", (sort) => {
    agreesWith[sort](vectors);
  });
});
