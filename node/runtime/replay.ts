/** From the log back to where a node stood: our own blocks for peers, and the commits that the application lacks. */
import { SomaError } from "../../base/errors.ts";
import { equalBytes } from "../../protocol/base/bytes.ts";
import type { ConsensusParameters } from "../../protocol/base/parameters.ts";
import { type AuthorityIndex, Block } from "../../protocol/consensus/block.ts";
import { type Commit, decodeCommit } from "../../protocol/consensus/commit.ts";
import type { RecoveredLog, RecoveredRecord } from "../../protocol/consensus/events.ts";
import { REPLAY_COMMITS } from "./limits.ts";
import { OWN_BLOCKS_KEPT } from "./peer-streams.ts";
import type { Application, Store, Watermark } from "./ports.ts";

export interface RecoveredLogTap {
  readonly log: RecoveredLog;
  /** Those that went by, ascending, one a round; the last ones, once `log` was read. */
  ownBlocks(): readonly Block[];
}

/** The log as it is, and a note of our own blocks in it. */
export function tapOwnBlocks(
  log: RecoveredLog,
  ownIndex: AuthorityIndex,
  { blockCommitVotesMax }: Pick<ConsensusParameters, "blockCommitVotesMax">,
): RecoveredLogTap {
  const found: Block[] = [];
  function* records(): Iterable<RecoveredRecord> {
    for (const record of log.records) {
      if (record.kind === "block" && authorOf(record.bytes) === ownIndex) {
        const block = new Block(record.bytes, blockCommitVotesMax);
        if (block.round > (found.at(-1)?.round ?? 0)) found.push(block);
        if (found.length > OWN_BLOCKS_KEPT) found.shift();
      }
      yield record;
    }
  }
  return {
    log: { records: records(), highestSignedRound: log.highestSignedRound },
    ownBlocks: () => found,
  };
}

/** Read in place: after epoch u64 and round u32. */
function authorOf(block: Uint8Array): AuthorityIndex {
  return (block[12] ?? 0) | ((block[13] ?? 0) << 8);
}

export interface ReplayOptions {
  readonly store: Store;
  readonly application: Application;
  readonly parameters: ConsensusParameters;
  /** Where the application stands. */
  readonly watermark: Watermark;
  /** Of the last commit in the log. */
  readonly lastIndex: number;
}

/** Applies the commits after the watermark, in order. A loop, not a recursion: a store in memory answers at once. */
export class CommitReplay {
  private readonly options: ReplayOptions;
  private readonly done: (result: Watermark | SomaError) => void;
  private watermark: Watermark;
  private commits: readonly Commit[] = [];
  private commitIndex = 0;
  private isLooping = false;
  private isReading = false;

  /** @param done with the new watermark, or why there is none */
  constructor(options: ReplayOptions, done: (result: Watermark | SomaError) => void) {
    this.options = options;
    this.done = done;
    this.watermark = options.watermark;
  }

  run(): void {
    if (this.isLooping) return;
    this.isLooping = true;
    let result: Watermark | SomaError | undefined;
    while (!this.isReading && result === undefined) {
      const commit = this.commits[this.commitIndex++];
      if (commit !== undefined) result = this.next(commit);
      else if (this.watermark.index >= this.options.lastIndex) result = this.watermark;
      else this.readCommits();
    }
    this.isLooping = false;
    if (result !== undefined) this.done(result);
  }

  private fail(error: SomaError): void {
    this.isReading = true; // for ever: nothing follows
    this.done(error);
  }

  private readCommits(): void {
    const { store, lastIndex } = this.options;
    const firstIndex = this.watermark.index + 1;
    const toIndex = Math.min(lastIndex, this.watermark.index + REPLAY_COMMITS);
    this.isReading = true;
    store.readCommits(firstIndex, toIndex, (encoded) => {
      this.isReading = false;
      this.commits = encoded.map(decodeCommit);
      this.commitIndex = 0;
      if (encoded.length > 0) this.run();
      else this.fail(missing(`commit ${firstIndex}`));
    });
  }

  private next(commit: Commit): SomaError | undefined {
    if (!equalBytes(commit.previousDigest, this.watermark.digest)) {
      return diverged(this.watermark.index);
    }
    this.isReading = true;
    this.options.store.readBlocks(commit.blocks, Infinity, (encoded) => {
      this.isReading = false;
      if (encoded.length !== commit.blocks.length) {
        this.fail(missing(`a block of commit ${commit.index}`));
        return;
      }
      this.apply(commit, encoded);
      this.run();
    });
    return undefined;
  }

  private apply(commit: Commit, encoded: readonly Uint8Array[]): void {
    const { application, store, parameters } = this.options;
    const blocks = encoded.map((bytes) => new Block(bytes, parameters.blockCommitVotesMax));
    const state = application.apply(commit, blocks);
    this.watermark = { index: commit.index, digest: commit.digest };
    store.appendApplied({ ...this.watermark, state });
  }
}

/** The application holds another history than the committee. */
export function diverged(index: number): SomaError {
  return new SomaError({
    code: "APPLICATION_DIVERGED",
    kind: "corrupt",
    what: `the application's commit ${index} is not the committee's`,
    next: "its state belongs to another network or is damaged: remove it and let it be built again from the log",
  });
}

function missing(what: string): SomaError {
  return new SomaError({
    code: "LOG_INCOMPLETE",
    kind: "corrupt",
    what: `the consensus log lacks ${what}, which the application needs`,
    next: "remove the log and the application's state (keep highest-signed): both come again from peers",
  });
}
