/**
 * The SentencePiece model that is in force: where it lies, its pinned hash, and the pieces inside it.
 * Trained by scripts/train-tokenizer.py. Source: protocol part 2 (unigram, 8,192 pieces, NFKC, byte fallback).
 */
import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { assert, SomaError } from "../../base/errors.ts";

/** SHA-256 of the one model whose ids the network and our checkpoints mean. */
export const TEXT_MODEL_SHA256 = "9dc01ef331718fe97906e87db85b44c1a7543b147b185cf92333dbc1f65aeac9";
/** Name of the model file, also inside a checkpoint. */
export const TEXT_MODEL_FILE = "soma-8192.model";
/** Pieces of the vocabulary, ids 0 … 8191. */
export const VOCABULARY_SIZE = 8192;

/** Ids that only a program places: no text spells them, and byte fallback leaves nothing unknown. */
export const SPECIAL_IDS = {
  padding: 0,
  unknown: 1,
  begin: 2,
  end: 3,
  mask: 4,
  classify: 5,
  separate: 6,
} as const;

/** The model's path in this package: the compiler copies only code to dist/, so it is found from the package's root. */
export function textModelPath(): string {
  return join(packageRoot(import.meta.dirname), "tokenizers", "text", TEXT_MODEL_FILE);
}

/**
 * Check a model file against the pinned hash. The library takes any bytes for a model without complaint, so it
 * must never see others.
 * @returns the pieces, by id
 * @throws SomaError TOKENIZER_NOT_FOUND (not found) or TOKENIZER_CORRUPT (corrupt)
 */
export function checkTextModel(path: string): readonly string[] {
  let bytes: Uint8Array;
  try {
    bytes = readFileSync(path);
  } catch (cause) {
    throw new SomaError(
      {
        code: "TOKENIZER_NOT_FOUND",
        kind: "notFound",
        what: `cannot read the text tokenizer ${path}`,
        next: "restore the file, from this repository or from where the checkpoint came",
      },
      { cause },
    );
  }
  const found = createHash("sha256").update(bytes).digest("hex");
  if (found !== TEXT_MODEL_SHA256) {
    throw new SomaError({
      code: "TOKENIZER_CORRUPT",
      kind: "corrupt",
      what: `${path} is not the tokenizer ${TEXT_MODEL_FILE}: its SHA-256 is ${found}, not ${TEXT_MODEL_SHA256}`,
      next: "restore the file, from this repository or from where the checkpoint came",
    });
  }
  const pieces = readPieces(bytes);
  assert(pieces.length === VOCABULARY_SIZE, `the model holds ${pieces.length} pieces`);
  return pieces;
}

/** The nearest folder above `from` that holds a package.json: the same from source and from dist/. */
function packageRoot(from: string): string {
  let folder = from;
  while (!existsSync(join(folder, "package.json"))) {
    const parent = dirname(folder);
    assert(parent !== folder, `no package.json above ${from}`);
    folder = parent;
  }
  return folder;
}

/**
 * The pieces of a ModelProto: its field 1, repeated, each a message whose field 1 is the text of the piece.
 * Only for bytes whose hash was checked: a broken length would read past the end.
 */
function readPieces(model: Uint8Array): readonly string[] {
  const pieces: string[] = [];
  for (const entry of fields(model)) {
    if (entry.number !== 1) continue;
    for (const inner of fields(entry.bytes)) {
      if (inner.number === 1) pieces.push(new TextDecoder().decode(inner.bytes));
    }
  }
  return pieces;
}

/** The length-delimited fields of a protobuf message, in order; others are skipped. */
function* fields(message: Uint8Array): Iterable<{ number: number; bytes: Uint8Array }> {
  let at = 0;
  const varint = (): number => {
    let value = 0;
    for (let shift = 1; ; shift *= 128) {
      const byte = message[at++] ?? 0;
      value += (byte & 127) * shift;
      if (byte < 128) return value;
    }
  };
  while (at < message.length) {
    const key = varint();
    const wireType = key % 8;
    if (wireType === 0) varint();
    else if (wireType === 1) at += 8;
    else if (wireType === 5) at += 4;
    else {
      assert(wireType === 2, `wire type ${wireType} in a model file`);
      const length = varint();
      yield { number: Math.floor(key / 8), bytes: message.subarray(at, at + length) };
      at += length;
    }
  }
}
