/**
 * What a dataset is: examples in groups. Rows of one group are positives of each other, whatever their
 * modality: three drawings and eight names of one emoji are one group. Splits are by group, so that no
 * part of a test concept is seen in training.
 */
import type { Progress } from "../base/progress.ts";

export type Split = "train" | "validation" | "test";
export const SPLITS: readonly Split[] = ["train", "validation", "test"];

/**
 * Where an example's picture comes from. Bytes are encoded (png, jpeg, webp, svg of a trusted set).
 * `sha256` (hex) is the hash of the encoded bytes, once known: the cache of pictures is asked by it.
 */
export type ImageSource =
  | { readonly kind: "file"; readonly path: string; readonly sha256?: string }
  | { readonly kind: "bytes"; readonly bytes: Uint8Array; readonly sha256?: string }
  /** Pixels that need no decoding: Uint8Array [height × width × 3]. Made anew at each access if there is `grey`. */
  | {
      readonly kind: "pixels";
      readonly width: number;
      readonly height: number;
      readonly pixels: Uint8Array;
      /** Hash of what the pixels are made from, where that is smaller than the pixels. */
      readonly sha256?: string;
      /** What the pixels are made from; kept instead of them, as it is much smaller. */
      readonly grey?: GreyLevels;
    };

/** Grey levels, each of which fills a square of `zoom` × `zoom` pixels, inside a black margin. */
export interface GreyLevels {
  /** Uint8Array [rows × columns], 0 black … 255 white. */
  readonly levels: Uint8Array;
  readonly columns: number;
  readonly rows: number;
  readonly zoom: number;
  /** Of each side, in pixels. */
  readonly margin: number;
}

export interface Example {
  /** Unique in the dataset. */
  readonly id: string;
  /** Rows with equal group are positives of each other. */
  readonly group: string;
  readonly split: Split;
  readonly text?: string;
  readonly image?: ImageSource;
  /** Class for probes, k-NN and zero-shot. */
  readonly label?: string;
  /** Which rendering of its group this is, e.g. "twemoji", "openmoji", "gloss", "lemma", "en". Retrieval goes across variants. */
  readonly variant?: string;
}

export interface Dataset {
  readonly name: string;
  readonly description: string;
  /** SPDX-like licence line and credits, as in CREDITS.md. */
  readonly licence: string;
  readonly examples: readonly Example[];
  /** Distinct labels, ascending. Empty if the dataset has none. */
  readonly labels: readonly string[];
  /** SHA-256 hex over ids, groups, splits, texts, labels and image content: goes into checkpoints. */
  readonly digest: string;
  /** May svg pictures of this set be decoded? Only for sets we ship pins for. */
  readonly trusted: boolean;
}

export interface LoadOptions {
  readonly progress?: Progress;
  /** Called with one sentence for each thing that was ignored, e.g. an unknown column. Default: stderr. */
  readonly warn?: (sentence: string) => void;
}

/** One line of the registry. */
export interface DatasetEntry {
  readonly name: string;
  readonly summary: string;
  load(options: LoadOptions): Promise<Dataset>;
}
