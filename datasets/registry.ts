/** Name → dataset, one line each. A module is loaded only when its dataset is asked for. */
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { SomaError } from "../base/errors.ts";
import { nearestName } from "../base/nearest.ts";
import type { Dataset, DatasetEntry, LoadOptions } from "./dataset.ts";

/* prettier-ignore */
export const DATASETS: readonly DatasetEntry[] = [
  { name: "emoji", summary: "1,852 emoji × 3 drawings × names in 28 languages; 9 groups", load: async () => (await import("./emoji.ts")).loadEmoji() },
  { name: "mnist", summary: "70,000 handwritten digits; 10 classes", load: async () => (await import("./mnist.ts")).loadMnist() },
  { name: "wordnet", summary: "noun synsets: gloss, lemma, synonyms, example; 26 classes", load: async () => (await import("./wordnet.ts")).loadWordnet() },
  { name: "brown", summary: "passages of 500 documents of English; 15 genres", load: async () => (await import("./brown.ts")).loadBrown() },
  { name: "synthetic", summary: "generated coloured shapes with captions, for tests; 8 shapes", load: async () => (await import("./synthetic.ts")).makeSynthetic() },
];

/**
 * A dataset by its registered name, else by path: a manifest file, a Hugging Face `save_to_disk` folder or a
 * folder of images.
 * @throws SomaError DATASET_UNKNOWN (notFound) naming the nearest registered name; and what the loaders throw
 */
export async function loadDataset(nameOrPath: string, options: LoadOptions = {}): Promise<Dataset> {
  const entry = DATASETS.find(({ name }) => name === nameOrPath);
  if (entry !== undefined) return entry.load(options);
  const found = await stat(nameOrPath).catch(() => undefined);
  if (found === undefined) throw unknownDataset(nameOrPath);
  if (!found.isDirectory())
    return (await import("./manifest.ts")).loadManifest(nameOrPath, options);
  return loadFolder(nameOrPath, options);
}

/** A folder is what the files in it say: a saved Hugging Face set, a manifest with its pictures, or pictures alone. */
async function loadFolder(folder: string, options: LoadOptions): Promise<Dataset> {
  const names = await readdir(folder);
  if (names.includes("dataset_dict.json") || names.includes("state.json")) {
    return (await import("./huggingface.ts")).loadSavedDataset(folder, options);
  }
  const { MANIFEST_EXTENSIONS, loadManifest } = await import("./manifest.ts");
  const manifest = MANIFEST_EXTENSIONS.map((extension) => `manifest${extension}`).find((name) =>
    names.includes(name),
  );
  if (manifest !== undefined) return loadManifest(join(folder, manifest), options);
  return (await import("./folders.ts")).loadImageFolder(folder, options);
}

function unknownDataset(name: string): SomaError {
  const names = DATASETS.map((entry) => entry.name);
  const nearest = nearestName(name, names);
  return new SomaError({
    code: "DATASET_UNKNOWN",
    kind: "notFound",
    what: `there is no dataset and no file or folder "${name}"`,
    next:
      nearest === undefined
        ? `registered are ${names.join(", ")}; or give the path of a manifest or folder`
        : `did you mean ${nearest}?`,
  });
}
