/** Records as a validator logs them: a chain of small blocks of several authors, commits over them, watermarks. */
import type { AppliedRecord } from "../../node/runtime/ports.ts";
import { concatBytes, u32Bytes } from "../../protocol/base/bytes.ts";
import { consensusParameters } from "../../protocol/base/parameters.ts";
import { encodeBlock } from "../../protocol/consensus/block.ts";
import { BlockVerifier, type VerifiedBlock } from "../../protocol/consensus/block-verifier.ts";
import { type Commit, sealCommit } from "../../protocol/consensus/commit.ts";
import type { LogRecord } from "../../protocol/consensus/events.ts";
import type { Rng } from "../../tokenizers/random.ts";
import { loopCommittee } from "./consensus-loop.ts";

export const { committee: LOG_COMMITTEE } = loopCommittee(4);
export const LOG_IDENTITY = new Uint8Array(32).fill(9);

const verifier = new BlockVerifier({
  committee: LOG_COMMITTEE,
  parameters: consensusParameters(),
  checkSignature: () => true,
});

/** A block whose rules hold but for its signature. @param payloadBytes of one transaction */
export function madeBlock(
  round: number,
  author: number,
  payloadBytes: number,
  commits: readonly Commit[] = [],
): VerifiedBlock {
  const ancestors = [0, 1, 2, 3].map((other) => ({
    round: round - 1,
    author: (author + other) % 4,
    digest:
      round === 1
        ? (LOG_COMMITTEE.genesis[(author + other) % 4]?.digest ?? new Uint8Array(32))
        : new Uint8Array(32).fill(round),
  }));
  const header = {
    epoch: 0,
    round,
    author,
    timestampMs: round,
    ancestors,
    commitVotes: commits.map(({ index, digest }) => ({ index, digest })),
  };
  const length =
    payloadBytes < 128 ? [payloadBytes] : [128 | (payloadBytes & 127), payloadBytes >> 7];
  const payload = concatBytes(
    Uint8Array.of(1, ...length),
    new Uint8Array(payloadBytes).fill(round),
  );
  const bytes = encodeBlock(header, [payload], () => new Uint8Array(64).fill(author));
  return verifier.verify(verifier.read(bytes));
}

export type Appended = LogRecord | { readonly kind: "applied"; readonly applied: AppliedRecord };

/** What a validator appends in one step. */
export interface LogStep {
  readonly records: readonly Appended[];
  /** Set when a block of validator 0 is among them: then it is flushed. */
  readonly signedRound: number | undefined;
}

/** One round of four blocks a step or two, our own among them; a commit for most of them. */
export function madeSteps(roundCount: number, rng: Rng): readonly LogStep[] {
  const steps: LogStep[] = [];
  let previousDigest = LOG_COMMITTEE.genesisDigest;
  let index = 0;
  for (let round = 1; round <= roundCount; round++) {
    const blocks = [1, 2, 3, 0].map((author) => madeBlock(round, author, rng.uniform(3000)));
    const foreign = blocks.slice(0, 3).map((block) => ({ kind: "block", block }) as const);
    steps.push({ records: foreign, signedRound: undefined });
    const records: Appended[] = blocks.slice(3).map((block) => ({ kind: "block", block }));
    if (rng.uniform(4) > 0) {
      const [leader] = blocks;
      if (leader === undefined) throw new Error("four blocks");
      const commit = sealCommit({
        index: ++index,
        previousDigest,
        leader: leader.ref,
        blocks: blocks.map(({ ref }) => ref),
        timestampMs: round,
      });
      previousDigest = commit.digest;
      const state = concatBytes(u32Bytes(index), new Uint8Array(rng.uniform(40)));
      records.push(
        { kind: "commit", commit },
        { kind: "applied", applied: { index, digest: commit.digest, state } },
      );
    }
    steps.push({ records, signedRound: round });
  }
  return steps;
}
