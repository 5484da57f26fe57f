/**
 * What every modality's tokenizer makes: a sequence of units. The network masks units, stems turn them
 * into vectors. A new modality brings a decoder and a rule that cuts; nothing downstream changes.
 */
import type { Modality } from "./modality.ts";

/** Units that are vocabulary ids. */
export interface IdTokens {
  readonly kind: "ids";
  readonly modality: Modality;
  /** Int32Array [units] */
  readonly ids: Int32Array;
}

/** Units that are blocks of raw bytes on a grid, numbered time-major, then row-major. */
export interface PatchTokens {
  readonly kind: "patches";
  readonly modality: Modality;
  /** Uint8Array [units × patchBytes], each patch flattened row by row, RGB interleaved. */
  readonly patches: Uint8Array;
  /** Bytes of one patch: 768 for a 16×16 RGB patch. */
  readonly patchBytes: number;
  readonly grid: Grid;
}

/** columns × rows × times units. `times` is 1 for stills. */
export interface Grid {
  readonly columns: number;
  readonly rows: number;
  readonly times: number;
}

export type TokenSequence = IdTokens | PatchTokens;

/** A decoded picture: pixels are Uint8Array [height × width × 3], RGB interleaved. */
export interface Image {
  readonly width: number;
  readonly height: number;
  readonly pixels: Uint8Array;
}

export interface Tokenizer<Raw> {
  readonly modality: Modality;
  /** Bytes of a stranger → decoded input. @throws SomaError for what is refused or corrupt. */
  decode(bytes: Uint8Array): Promise<Raw>;
  /**
   * Deterministic; the number of units is a pure integer function of the decoded size. Takes inputs of any size,
   * since names and thumbnails are trained on too; the network's own minimum is `assertUnits`.
   */
  tokenize(raw: Raw): TokenSequence;
}

export function unitCount(tokens: TokenSequence): number {
  return tokens.kind === "ids"
    ? tokens.ids.length
    : tokens.grid.columns * tokens.grid.rows * tokens.grid.times;
}

/** A sequence as an encoder sees it: all of it, or the visible units alone. Positions are kept. */
export interface MaskedTokens {
  readonly tokens: TokenSequence;
  /** Ascending positions of the units that may be seen; undefined = all. */
  readonly visible?: Uint32Array;
}
