/**
 * What all validators of a network must share. Defaults of protocol parts 9 and 11; genesis fixes them, governance
 * changes them. Limits on foreign data are here too: every loop and buffer over such data names one.
 */
import { assert } from "../../base/errors.ts";

export interface ConsensusParameters {
  /** Leader slots of a round. */
  readonly leadersPerRound: number;
  /** Leader round, voting round(s), decision round. */
  readonly waveLength: number;
  /** Every round elects leaders; otherwise only rounds that are multiples of waveLength. */
  readonly pipelined: boolean;
  /** Blocks this many rounds below the leader committed before are no longer ordered. */
  readonly gcDepthRounds: number;
  /** The first commit with a leader of this round or later ends the epoch. */
  readonly epochLengthRounds: number;

  // ---- limits of a block ----
  readonly transactionBytesMax: number;
  readonly blockTransactionCountMax: number;
  /** Sum over the transactions of a block, their lengths not counted. */
  readonly blockTransactionBytesMax: number;
  /** All of a block as it is sent: the door before anything is read. */
  readonly blockBytesMax: number;
  readonly blockCommitVotesMax: number;

  // ---- pace: when to propose; never what is decided ----
  readonly leaderTimeoutMs: number;
  /** A leader whose newest block is more rounds old is not waited for. */
  readonly leaderAwayRounds: number;
  readonly roundDelayMinMs: number;
  readonly rebroadcastIntervalMs: number;

  // ---- buffers ----
  /** Blocks of one author that wait for ancestors. */
  readonly suspendedPerAuthorMax: number;
  readonly suspendedBytesPerAuthorMax: number;
  /** Twins of one slot that are kept although no block refers to them. */
  readonly twinsPerSlotMax: number;
  /** Bytes of transactions that wait to be proposed. */
  readonly pendingTransactionBytesMax: number;

  // ---- fetching blocks ----
  readonly fetchRefsMax: number;
  readonly fetchRequestsPerPeerMax: number;
  readonly fetchTimeoutMs: number;
  /** How long a missed block may still come by itself before it is asked for. */
  readonly fetchDelayMs: number;
  readonly synchronizeIntervalMs: number;

  // ---- catching up ----
  /** Commits behind an honest validator from which a node fetches commits instead of deciding. */
  readonly commitLagStart: number;
  /** Commits behind from which live blocks are refused, after their votes were read. */
  readonly commitLagRefuse: number;
  readonly commitsPerFetchMax: number;
  readonly commitFetchesMax: number;
  /** Bytes of blocks that were fetched for commits and wait for their turn. */
  readonly commitBlockBytesMax: number;
  /** Between two attempts to learn our own last block after starting with an empty disk. */
  readonly ownBlockRetryMs: number;

  // ---- after ordering ----
  /** Rounds for which a transaction is remembered so that its duplicates are dropped. */
  readonly duplicateWindowRounds: number;
}

export const DEFAULT_CONSENSUS_PARAMETERS: ConsensusParameters = Object.freeze({
  leadersPerRound: 2,
  waveLength: 3,
  pipelined: true,
  gcDepthRounds: 60,
  epochLengthRounds: Number.MAX_SAFE_INTEGER,
  transactionBytesMax: 256 * 1024,
  blockTransactionCountMax: 4096,
  blockTransactionBytesMax: 512 * 1024,
  blockBytesMax: 4 * 1024 * 1024,
  blockCommitVotesMax: 100,
  leaderTimeoutMs: 200,
  leaderAwayRounds: 30,
  roundDelayMinMs: 50,
  rebroadcastIntervalMs: 1000,
  suspendedPerAuthorMax: 512,
  suspendedBytesPerAuthorMax: 16 * 1024 * 1024,
  twinsPerSlotMax: 2,
  pendingTransactionBytesMax: 64 * 1024 * 1024,
  fetchRefsMax: 32,
  fetchRequestsPerPeerMax: 5,
  fetchTimeoutMs: 2000,
  fetchDelayMs: 50,
  synchronizeIntervalMs: 200,
  commitLagStart: 50,
  commitLagRefuse: 500,
  commitsPerFetchMax: 100,
  commitFetchesMax: 4,
  commitBlockBytesMax: 64 * 1024 * 1024,
  ownBlockRetryMs: 5000,
  duplicateWindowRounds: 120,
});

/** The defaults with some changed. @throws InvariantError if a number is out of its range: parameters are our own */
export function consensusParameters(
  changes: Partial<ConsensusParameters> = {},
): ConsensusParameters {
  const made = { ...DEFAULT_CONSENSUS_PARAMETERS, ...changes };
  for (const [name, value] of Object.entries(made)) {
    if (name === "pipelined") continue;
    assert(Number.isSafeInteger(value) && Number(value) >= 0, `${name} is no count: ${value}`);
  }
  // Longer ones are for cases of others: there votes pass from block to block, so that one view may skip a leader by the
  // round after it while another commits it by later rounds, with nobody faulty (a test has the two views).
  assert(made.waveLength === 3, "a wave has a leader round, a voting round and a decision round");
  assert(made.leadersPerRound >= 1, "a round without leaders commits nothing");
  assert(made.roundDelayMinMs >= 1, "a validator alone would propose without end in one moment");
  assert(made.gcDepthRounds >= made.waveLength, "garbage collection would eat undecided rounds");
  return Object.freeze(made);
}
