/** A's core alone among four validators, fed by the test. */
import { present } from "../../base/errors.ts";
import { DrawnDag } from "../../node/conformance/drawn-dag.ts";
import { type ConsensusParameters, consensusParameters } from "../../protocol/base/parameters.ts";
import { type BlockRef, EMPTY_PAYLOAD, encodeBlock } from "../../protocol/consensus/block.ts";
import type { VerifiedBlock } from "../../protocol/consensus/block-verifier.ts";
import { ConsensusCore } from "../../protocol/consensus/core.ts";
import type {
  ConsensusEffect,
  ConsensusEvent,
  RecoveredLog,
} from "../../protocol/consensus/events.ts";
import { committeeSignatures } from "../../protocol/consensus/signatures.ts";
import { loopCommittee } from "./consensus-loop.ts";

export const { committee: LONE_COMMITTEE, signers: LONE_SIGNERS } = loopCommittee(4);
const NAMES = new DrawnDag(LONE_COMMITTEE, []);
export const GENESIS: readonly string[] = ["A0", "B0", "C0", "D0"];

export interface LoneCore {
  readonly core: ConsensusCore;
  readonly feed: (event: ConsensusEvent) => readonly ConsensusEffect[];
  /** A1, proposed at 0 ms. */
  readonly own: VerifiedBlock;
}

const NOTHING: RecoveredLog = { records: [], highestSignedRound: 0 };

/** Not started. One leader a round: B of odd rounds, C of even ones. */
export function coreOfA(
  changes: Partial<ConsensusParameters> = {},
  recovered = NOTHING,
): ConsensusCore {
  return new ConsensusCore({
    committee: LONE_COMMITTEE,
    ownIndex: 0,
    parameters: consensusParameters({ leadersPerRound: 1, ...changes }),
    signer: present(LONE_SIGNERS[0], "a signer"),
    checkSignature: committeeSignatures(LONE_COMMITTEE),
    recovered,
    schedule: { leaders: (round) => [round % 2 === 1 ? 1 : 2] },
  });
}

/** Started on an empty disk; two peers have said that they know no block of ours. */
export function loneCore(changes: Partial<ConsensusParameters> = {}): LoneCore {
  const core = coreOfA(changes);
  core.step({ kind: "started", now: 0 });
  const effects = [1, 2].flatMap((from) =>
    core.step({ kind: "ownBlockReported", from, block: undefined, now: 0 }),
  );
  const own = present(effects.find((each) => each.kind === "broadcast")?.block, "A proposes");
  return { core, own, feed: (event) => core.step(event) };
}

export interface BlockChanges {
  readonly timestampMs?: number;
  readonly signedBy?: number;
}

/** A signed block. Ancestors by name ("B0"), or as they are. */
export function signedBlock(
  author: number,
  round: number,
  ancestors: readonly (string | { readonly ref: BlockRef })[],
  { timestampMs = 0, signedBy = author }: BlockChanges = {},
): Uint8Array {
  return encodeBlock(
    {
      epoch: 0,
      round,
      author,
      timestampMs,
      commitVotes: [],
      ancestors: ancestors.map((each) => (typeof each === "string" ? NAMES.ref(each) : each.ref)),
    },
    [EMPTY_PAYLOAD],
    (digest) => present(LONE_SIGNERS[signedBy], "a signer").sign(digest),
  );
}

/** The author's block of round 1. */
export function firstBlock(author: number, changes: BlockChanges = {}): Uint8Array {
  const own = present(GENESIS[author], "one of four");
  return signedBlock(author, 1, [own, ...GENESIS.filter((each) => each !== own)], changes);
}

/** A block as another core accepted it. */
export function accepted(bytes: Uint8Array): VerifiedBlock {
  const effects = loneCore().feed({ kind: "blocksReceived", from: 1, blocks: [bytes], now: 0 });
  const record = effects.find((each) => each.kind === "persist")?.records[0];
  return present(record?.kind === "block" ? record.block : undefined, "it was accepted");
}

export function kindsOf(effects: readonly ConsensusEffect[]): readonly string[] {
  return effects.map((effect) => effect.kind);
}

/** Rounds of the blocks that were sent. */
export function proposedRounds(effects: readonly ConsensusEffect[]): readonly number[] {
  return effects.flatMap((effect) => (effect.kind === "broadcast" ? [effect.block.round] : []));
}
