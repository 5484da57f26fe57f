/** What a core is made of, put together. */
import type { ConsensusParameters } from "../base/parameters.ts";
import type { AuthorityIndex, Digest, Round } from "./block.ts";
import { BlockManager } from "./block-manager.ts";
import { BlockVerifier, type SignatureCheck } from "./block-verifier.ts";
import { CommitProgress } from "./certifiers.ts";
import type { Commit } from "./commit.ts";
import { CommitSyncer } from "./commit-syncer.ts";
import type { Committee } from "./committee.ts";
import { Committer } from "./committer.ts";
import { DagState } from "./dag-state.ts";
import type { RecoveredLog, RequestId, Signer } from "./events.ts";
import { Intake } from "./intake.ts";
import { type LeaderSchedule, StakeWeightedSchedule } from "./leader-schedule.ts";
import { Linearizer } from "./linearizer.ts";
import { OwnBlockSearch } from "./own-block-search.ts";
import { Proposer } from "./proposer.ts";
import { Synchronizer } from "./synchronizer.ts";
import { ThresholdClock } from "./threshold-clock.ts";
import { TransactionQueue } from "./transaction-queue.ts";

export interface ConsensusOptions {
  readonly committee: Committee;
  readonly ownIndex: AuthorityIndex;
  readonly parameters: ConsensusParameters;
  readonly signer: Signer;
  readonly checkSignature: SignatureCheck;
  readonly recovered: RecoveredLog;
  /** The application's word on a block's transactions: a pure function. */
  readonly checkTransactions?: (payload: Uint8Array) => boolean;
  /** Instead of the network's own schedule: for drawings and tests. */
  readonly schedule?: LeaderSchedule;
}

/** Where a core stands: for metrics and tests. */
export interface ConsensusProgress {
  readonly clockRound: Round;
  readonly lastOwnRound: Round;
  /** Every slot up to this round is decided. */
  readonly decidedRound: Round;
  readonly lastCommit: Commit | undefined;
  readonly lastCommitDigest: Digest;
  readonly knownCommitIndex: number;
  readonly isCatchingUp: boolean;
  readonly suspendedCount: number;
  readonly wantedCount: number;
  readonly pendingTransactionBytes: number;
  readonly hasEpochEnded: boolean;
  readonly isHalted: boolean;
}

export interface ConsensusParts {
  readonly verifier: BlockVerifier;
  readonly dag: DagState;
  readonly manager: BlockManager;
  readonly clock: ThresholdClock;
  readonly committer: Committer;
  readonly linearizer: Linearizer;
  readonly proposer: Proposer;
  readonly queue: TransactionQueue;
  readonly progress: CommitProgress;
  readonly intake: Intake;
  readonly synchronizer: Synchronizer;
  readonly commitSyncer: CommitSyncer;
  readonly ownBlocks: OwnBlockSearch;
}

export function assemble(options: ConsensusOptions): ConsensusParts {
  const { committee, parameters, ownIndex } = options;
  const { leadersPerRound, waveLength, pipelined, gcDepthRounds } = parameters;
  const schedule = options.schedule ?? new StakeWeightedSchedule(committee, leadersPerRound);
  const verifier = new BlockVerifier(options);
  const dag = new DagState(committee);
  const manager = new BlockManager(dag, parameters);
  const progress = new CommitProgress(committee);
  let requestCount = 0;
  const nextRequestId = (): RequestId => ++requestCount;
  return {
    verifier,
    dag,
    manager,
    progress,
    clock: new ThresholdClock(committee, 1),
    committer: new Committer({
      dag,
      committee,
      schedule,
      waveLength,
      leadersPerRound,
      pipelined,
      stopsOnFaults: true,
    }),
    linearizer: new Linearizer(committee, gcDepthRounds),
    proposer: new Proposer({ ...options, dag, schedule, verifier }),
    queue: new TransactionQueue(parameters),
    intake: new Intake({ ownIndex, verifier, dag, manager, progress }),
    synchronizer: new Synchronizer({
      peerCount: committee.size,
      ownIndex,
      parameters,
      wanted: manager.wanted,
      nextRequestId,
    }),
    commitSyncer: new CommitSyncer({
      committee,
      ownIndex,
      parameters,
      verifier,
      progress,
      nextRequestId,
      hasBlock: (ref) => dag.find(ref) !== undefined || manager.suspendedBlock(ref) !== undefined,
    }),
    ownBlocks: new OwnBlockSearch(committee, ownIndex),
  };
}
