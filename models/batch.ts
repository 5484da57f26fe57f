/** Token sequences of one kind packed into padded arrays: what a stem reads. */
import { assert } from "../base/errors.ts";
import { unitCount, type Grid, type MaskedTokens } from "../tokenizers/tokenizer.ts";

/** B sequences of up to N patches. Padding and hidden units have visible = 0, and zeros for content. */
export interface PatchBatch {
  readonly kind: "patches";
  readonly size: number;
  readonly units: number;
  /**
   * [B, N, patchBytes]: the patches' bytes, or their ink (stems/ink.ts) if whoever packed the batch has made that
   * already, e.g. a thread that draws ahead of the training.
   */
  readonly patches: Uint8Array | Float32Array;
  readonly patchBytes: number;
  /** The grid of each sequence, hidden units counted. [B] */
  readonly grids: readonly Grid[];
  /** Float32Array [B, N]: 1 = may be seen. */
  readonly visible: Float32Array;
  /** Float32Array [B]: units of the whole sequence, hidden ones counted, padding not. */
  readonly lengths: Float32Array;
}

/** B sequences of up to N vocabulary ids. */
export interface IdBatch {
  readonly kind: "ids";
  readonly size: number;
  readonly units: number;
  /** Int32Array [B, N]; 0 where padded or hidden. */
  readonly ids: Int32Array;
  /** Float32Array [B, N] */
  readonly visible: Float32Array;
  /** Float32Array [B] */
  readonly lengths: Float32Array;
}

export type TokenBatch = PatchBatch | IdBatch;

/**
 * Pack sequences of one kind. Hidden units are zeroed here, so that no encoder can see them.
 * @param unitsMin  pad to at least so many units: a caller that rounds up sees few different shapes
 */
export function packTokens(inputs: readonly MaskedTokens[], unitsMin = 1): TokenBatch {
  const first = inputs[0];
  assert(first !== undefined, "a batch has at least one sequence");
  return first.tokens.kind === "ids"
    ? packIds(inputs, unitsMin)
    : packPatches(inputs, first.tokens.patchBytes, unitsMin);
}

function packIds(inputs: readonly MaskedTokens[], unitsMin: number): IdBatch {
  const size = inputs.length;
  const units = Math.max(unitsMin, ...inputs.map((input) => unitCount(input.tokens)));
  const ids = new Int32Array(size * units);
  const visible = new Float32Array(size * units);
  const lengths = new Float32Array(size);
  inputs.forEach((input, b) => {
    const { tokens } = input;
    assert(tokens.kind === "ids", "a batch holds sequences of one kind");
    lengths[b] = tokens.ids.length;
    for (const n of positionsOf(input)) {
      ids[b * units + n] = tokens.ids[n] ?? 0;
      visible[b * units + n] = 1;
    }
  });
  return { kind: "ids", size, units, ids, visible, lengths };
}

function packPatches(
  inputs: readonly MaskedTokens[],
  patchBytes: number,
  unitsMin: number,
): PatchBatch {
  const size = inputs.length;
  const units = Math.max(unitsMin, ...inputs.map((input) => unitCount(input.tokens)));
  const patches = new Uint8Array(size * units * patchBytes);
  const grids: Grid[] = [];
  const visible = new Float32Array(size * units);
  const lengths = new Float32Array(size);
  inputs.forEach((input, b) => {
    const { tokens } = input;
    assert(tokens.kind === "patches", "a batch holds sequences of one kind");
    assert(tokens.patchBytes === patchBytes, "a batch holds patches of one size");
    grids.push(tokens.grid);
    lengths[b] = unitCount(tokens);
    for (const n of positionsOf(input)) {
      const at = b * units + n;
      patches.set(tokens.patches.subarray(n * patchBytes, (n + 1) * patchBytes), at * patchBytes);
      visible[at] = 1;
    }
  });
  return { kind: "patches", size, units, patches, patchBytes, grids, visible, lengths };
}

function* positionsOf(input: MaskedTokens): Iterable<number> {
  if (input.visible !== undefined) yield* input.visible;
  else for (let n = 0; n < unitCount(input.tokens); n++) yield n;
}
