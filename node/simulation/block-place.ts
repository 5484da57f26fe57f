/** Round and author of an encoded block, read in place: after epoch u64. Of garbage, what its bytes say. */
import { readU16, readU32 } from "../../protocol/base/bytes.ts";
import type { AuthorityIndex, Round } from "../../protocol/consensus/block.ts";

export function roundOf(block: Uint8Array): Round {
  return readU32(block, 8);
}

export function authorOf(block: Uint8Array): AuthorityIndex {
  return readU16(block, 12);
}
