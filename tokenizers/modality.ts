/**
 * The modalities of the network and what each one's unit, bound and mask ratio is.
 * Source: seed "Modality-Specific Tokenization and Masking Ratios"; protocol part 2. Pure: no clock, disk or library.
 */

export type Modality = "text" | "image" | "video" | "audio";

export interface ModalityRule {
  /** Name of the tokenizer in force and its version; governance changes them together. */
  readonly tokenizer: string;
  readonly version: number;
  /** Share of the units that one mask draws: numerator / denominator. */
  readonly maskRatio: { readonly numerator: number; readonly denominator: number };
  /** Bytes of one input at most; larger is refused before decoding. */
  readonly inputBytesMax: number;
  /** Units of one input at most. */
  readonly unitsMax: number;
}

/** Inputs of fewer units are refused: a mask and its inverse must both say something. */
export const UNITS_MIN = 8;

const MIB = 1024 * 1024;

export const MODALITIES: Readonly<Record<Modality, ModalityRule>> = {
  text: {
    tokenizer: "sentencepiece-8192",
    version: 1,
    maskRatio: { numerator: 15, denominator: 100 },
    inputBytesMax: MIB,
    unitsMax: 512,
  },
  image: {
    tokenizer: "patches-16",
    version: 1,
    maskRatio: { numerator: 85, denominator: 100 },
    inputBytesMax: 8 * MIB,
    unitsMax: 196,
  },
  video: {
    tokenizer: "tubelets-2x16x16",
    version: 1,
    maskRatio: { numerator: 90, denominator: 100 },
    inputBytesMax: 64 * MIB,
    unitsMax: 8 * 64,
  },
  audio: {
    tokenizer: "log-mel-128",
    version: 1,
    maskRatio: { numerator: 80, denominator: 100 },
    inputBytesMax: 16 * MIB,
    unitsMax: 8 * 62,
  },
};
