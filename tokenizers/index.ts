/** Face of the wing, for programs that use Soma as a library. Nothing inside the house imports it. */
export { fromHex, sha256, taggedHash, toHex, u32 } from "./hash.ts";
export { Rng, seededRng } from "./random.ts";
export { MODALITIES, UNITS_MIN } from "./modality.ts";
export type { Modality, ModalityRule } from "./modality.ts";
export { drawMask, drawMasks, invert, maskedViews, MASKS_DEFAULT, MASKS_MAX } from "./mask.ts";
export type { Mask, MaskedViews, MaskRequest, Ratio } from "./mask.ts";
export { assertUnits, audioUnits, imageGrid, videoFrames, videoGrid } from "./units.ts";
export { unitCount } from "./tokenizer.ts";
export type {
  Grid,
  IdTokens,
  Image,
  MaskedTokens,
  PatchTokens,
  Tokenizer,
  TokenSequence,
} from "./tokenizer.ts";
export { loadTokenizer } from "./registry.ts";
export type { DecodedInputs, TokenizedModality } from "./registry.ts";
export { loadTextTokenizer, TextTokenizer } from "./text/sentencepiece.ts";
export { decodeImage, encodePng, resizeImage } from "./image/decode.ts";
export type { DecodedImage, DecodeOptions } from "./image/decode.ts";
export { imageTokenizer, patchify, unpatchify } from "./image/patches.ts";
