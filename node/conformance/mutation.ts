/**
 * Hostile bytes: an encoding that is sound but for a few changes, or bytes from nowhere. The changes are those that
 * decoders have fallen for: lengths that claim more than is there, integers at their edges, pieces cut, doubled, mixed.
 */
import type { Rng } from "../../tokenizers/random.ts";

/** Bytes of a random input. */
const RANDOM_BYTES_MAX = 400;
const CHANGES_MAX = 4;
/** Bytes that one change takes out, puts in or doubles. */
const PIECE_BYTES_MAX = 40;

/** Lengths as ULEB128: the largest that is one, one that is too long, some that are not minimal. */
const LENGTHS: readonly (readonly number[])[] = [
  [0xff, 0xff, 0xff, 0xff, 0x0f],
  [0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
  [0x80, 0x80, 0x80, 0x80, 0x10],
  [0xff, 0xff, 0x03],
  [0xe8, 0x07],
  [0x80, 0x00],
  [0x81, 0x00],
];
const EDGES: readonly number[] = [0x00, 0x01, 0x02, 0x7f, 0x80, 0xfe, 0xff];

/** Random bytes; half the time mostly small ones, which pass for lengths and kinds more often. */
export function randomBytes(rng: Rng): Uint8Array {
  const bound = rng.uniform(2) === 0 ? 256 : 4;
  return drawn(rng, rng.uniform(RANDOM_BYTES_MAX), bound);
}

/** A copy with one to four changes. @param other another encoding, to mix in */
export function mutated(bytes: Uint8Array, other: Uint8Array, rng: Rng): Uint8Array {
  let result: Uint8Array = bytes.slice();
  for (let left = 1 + rng.uniform(CHANGES_MAX); left > 0; left--) {
    result = changed(result, other, rng);
  }
  return result;
}

function changed(bytes: Uint8Array, other: Uint8Array, rng: Rng): Uint8Array {
  const at = rng.uniform(bytes.length + 1);
  const size = 1 + rng.uniform(PIECE_BYTES_MAX);
  switch (rng.uniform(10)) {
    case 0:
      return overwritten(bytes, at, [(bytes[at] ?? 0) ^ (1 << rng.uniform(8))]);
    case 1:
      return overwritten(bytes, at, [rng.uniform(256)]);
    case 2:
      return overwritten(bytes, at, repeated(EDGES, [1, 2, 4, 8], rng));
    case 3:
      return overwritten(bytes, at, LENGTHS[rng.uniform(LENGTHS.length)] ?? []);
    case 4:
      return spliced(bytes, at, 1, LENGTHS[rng.uniform(LENGTHS.length)] ?? []);
    case 5:
      return bytes.slice(0, at);
    case 6:
      return spliced(bytes, at, 0, drawn(rng, size, 256));
    case 7:
      return spliced(bytes, at, size, []);
    case 8:
      return spliced(bytes, at, 0, bytes.subarray(at, at + size));
    default:
      return spliced(bytes, at, bytes.length, other.subarray(rng.uniform(other.length + 1)));
  }
}

function drawn(rng: Rng, length: number, bound: number): Uint8Array {
  return Uint8Array.from({ length }, () => rng.uniform(bound));
}

function repeated(values: readonly number[], counts: readonly number[], rng: Rng): number[] {
  const value = values[rng.uniform(values.length)] ?? 0;
  return Array.from({ length: counts[rng.uniform(counts.length)] ?? 1 }, () => value);
}

/** What would be behind the end is left out. */
function overwritten(bytes: Uint8Array, at: number, values: readonly number[]): Uint8Array {
  bytes.set(values.slice(0, bytes.length - at), at);
  return bytes;
}

function spliced(
  bytes: Uint8Array,
  at: number,
  deleteCount: number,
  inserted: ArrayLike<number>,
): Uint8Array {
  const rest = bytes.subarray(at + deleteCount);
  const result = new Uint8Array(at + inserted.length + rest.length);
  result.set(bytes.subarray(0, at));
  result.set(inserted, at);
  result.set(rest, at + inserted.length);
  return result;
}
