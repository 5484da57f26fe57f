/**
 * The smallest application: it remembers how many commits and blocks it was given, and a chain of their digests. Two that
 * agree were given the same commits and blocks in the same order, each once. For consensus measured and tested by itself.
 */
import { assert, present } from "../../base/errors.ts";
import { equalBytes } from "../../protocol/base/bytes.ts";
import { decode, encode, fixedBytes, struct, u64 } from "../../protocol/base/codec.ts";
import { DIGEST_BYTES, hashDomain, hashParts } from "../../protocol/base/hash.ts";
import type { Block, Digest } from "../../protocol/consensus/block.ts";
import type { Commit } from "../../protocol/consensus/commit.ts";
import type { AppliedRecord, Application, Watermark } from "./ports.ts";

export interface ChainState {
  readonly commitCount: number;
  readonly blockCount: number;
  readonly payloadBytes: number;
  /** H("chain", the one before, commit digest, payload digests). */
  readonly chain: Digest;
}

const DOMAIN = hashDomain("chain");
const stateCodec = struct<ChainState>({
  commitCount: u64,
  blockCount: u64,
  payloadBytes: u64,
  chain: fixedBytes(DIGEST_BYTES),
});

export class ChainApplication implements Application {
  private readonly genesisDigest: Digest;
  private now: ChainState;

  constructor(genesisDigest: Digest) {
    this.genesisDigest = genesisDigest;
    this.now = { commitCount: 0, blockCount: 0, payloadBytes: 0, chain: genesisDigest };
  }

  get state(): ChainState {
    return this.now;
  }

  restore(applied: AppliedRecord | undefined): Watermark {
    if (applied === undefined) return { index: 0, digest: this.genesisDigest };
    this.now = decode(stateCodec, applied.state.slice());
    return { index: applied.index, digest: applied.digest };
  }

  apply(commit: Commit, blocks: readonly Block[]): Uint8Array {
    assert(commit.index === this.now.commitCount + 1, `commit ${commit.index} is applied in turn`);
    assert(blocks.length === commit.blocks.length, "the blocks are those of the commit");
    commit.blocks.forEach(({ digest }, i) => {
      const block = present(blocks[i], "as many blocks as references");
      assert(equalBytes(digest, block.digest), `block ${i} of the commit is another`);
    });
    const { blockCount, payloadBytes, chain } = this.now;
    this.now = {
      commitCount: commit.index,
      blockCount: blockCount + blocks.length,
      payloadBytes: payloadBytes + blocks.reduce((sum, { payload }) => sum + payload.length, 0),
      chain: hashParts(
        DOMAIN,
        chain,
        commit.digest,
        ...blocks.map(({ payloadDigest }) => payloadDigest),
      ),
    };
    return encode(stateCodec, this.now);
  }
}
