/** Limits of one node on what it keeps and does for its peers. Those that all must share are in ConsensusParameters. */
import type { Milliseconds } from "../../protocol/base/effects.ts";

/** Blocks of one answer. Source: guides: consensus, 3.9. */
export const BLOCKS_PER_ANSWER_MAX = 1000;
/** Bytes of blocks in one answer; passed by one block at most. */
export const ANSWER_BYTES_MAX = 4 * 1024 * 1024;
/** Answers to one peer that are being read from disk. */
export const ANSWERS_PER_PEER_MAX = 8;
/** Blocks looked through for the votes of a commit, when the first ones do not have them. */
export const VOTING_BLOCKS_READ_MAX = 2000;
/** Requests to one peer whose answers are still accepted. */
export const OPEN_REQUESTS_PER_PEER_MAX = 64;
/** Commits read at once to bring the application up to date. */
export const REPLAY_COMMITS = 250;

/** Broken rules after which a peer is refused for a while: a crash or a bad disk may make one, not three. */
export const STRIKES_MAX = 3;
export const BAN_MS: Milliseconds = 30_000;
