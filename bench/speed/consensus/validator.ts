/** One measured validator: a node, its clients, and what is counted of it. */
import { statSync } from "node:fs";
import { join } from "node:path";
import type { SomaError } from "../../../base/errors.ts";
import { toHex } from "../../../protocol/base/bytes.ts";
import {
  type ConsensusParameters,
  consensusParameters,
} from "../../../protocol/base/parameters.ts";
import { Reader } from "../../../protocol/base/wire.ts";
import type { Block } from "../../../protocol/consensus/block.ts";
import { Committee } from "../../../protocol/consensus/committee.ts";
import { Ed25519Signer } from "../../../protocol/crypto/ed25519.ts";
import { messageBytes, type PeerMessage } from "../../../node/network/message.ts";
import { ChainApplication } from "../../../node/runtime/chain-application.ts";
import { type ConsensusNode, makeConsensusNode } from "../../../node/runtime/consensus-node.ts";
import type { DriverNotice } from "../../../node/runtime/driver.ts";
import type { Network, Store } from "../../../node/runtime/ports.ts";
import { FolderDisk } from "../../../node/storage/disk.ts";
import { LOG_FILE, openLogStore } from "../../../node/storage/log-store.ts";
import { MemoryStore } from "../../../node/storage/memory-store.ts";
import { benchFailed } from "./failure.ts";
import { LatencyHistogram } from "./latency.ts";
import { TransactionLoad } from "./load.ts";
import { meteredDisk } from "./metered-disk.ts";
import type { CommitMark, ConsensusBenchSettings, ValidatorReport } from "./settings.ts";

/** Commits told at the end, for validators that have not come equally far to be compared. */
const LAST_COMMITS = 500;

/** Of blocks in a log in memory: what peers may still ask for in a short run. */
const MEMORY_LOG_BYTES = 64 * 2 ** 20;

interface Submitted {
  readonly dueAt: number;
  readonly count: number;
  readonly sizeBytes: number;
}

/** What is counted from one moment on. */
interface Counts {
  offered: number;
  refused: number;
  committed: number;
  resubmitted: number;
  commits: number;
  sent: number;
}

function noCounts(): Counts {
  return { offered: 0, refused: 0, committed: 0, resubmitted: 0, commits: 0, sent: 0 };
}

/** The network's own, but for the pace that the settings ask for. A committee of one has one leader a round. */
function benchParameters({
  validators,
  roundDelayMs,
}: ConsensusBenchSettings): ConsensusParameters {
  const { leadersPerRound } = consensusParameters();
  return consensusParameters({
    roundDelayMinMs: roundDelayMs,
    leadersPerRound: Math.min(leadersPerRound, validators),
  });
}

export function benchSigner(index: number): Ed25519Signer {
  const seed = new Uint8Array(32).fill(7);
  new DataView(seed.buffer).setUint32(0, index, true);
  return new Ed25519Signer(seed);
}

/** Equal stakes; the same in every process. */
export function benchCommittee(size: number): Committee {
  return new Committee({
    epoch: 0,
    authorities: Array.from({ length: size }, (_, index) => {
      const address = new Uint8Array(32);
      new DataView(address.buffer).setUint32(0, index); // big-endian: ascending as the index is
      return { address, publicKey: benchSigner(index).publicKey, stake: 1 };
    }),
    genesisDigest: new Uint8Array(32),
    genesisTimestampMs: 0,
  });
}

export interface MeasuredValidatorOptions {
  readonly index: number;
  readonly settings: ConsensusBenchSettings;
  readonly committee: Committee;
  readonly network: Network;
  readonly onFailure: (error: SomaError) => void;
}

export class MeasuredValidator {
  readonly index: number;
  private readonly settings: ConsensusBenchSettings;
  private readonly parameters: ConsensusParameters;
  private readonly node: ConsensusNode;
  private readonly load: TransactionLoad;
  private readonly latency = new LatencyHistogram();
  private readonly syncs = new LatencyHistogram();
  private readonly logPath: string;
  private readonly onFailure: (error: SomaError) => void;
  /** On their way into a block, by batch. */
  private readonly submitted = new Map<number, Submitted>();
  private submittedBytes = 0;
  /** Own blocks that are not ordered yet, by round. */
  private readonly proposed = new Map<number, readonly Submitted[]>();
  private readonly lastCommits: CommitMark[] = [];
  /** From the first commit on. */
  private orderedCount = 0;
  private counts = noCounts();
  private startRound = 0;
  private startLogBytes = 0;

  constructor({ index, settings, committee, network, onFailure }: MeasuredValidatorOptions) {
    this.index = index;
    this.settings = settings;
    this.onFailure = onFailure;
    const folder = join(settings.logFolder, String(index));
    this.logPath = join(folder, LOG_FILE);
    const parameters = benchParameters(settings);
    this.parameters = parameters;
    const store: Store =
      settings.log === "disk"
        ? openLogStore({
            disk: meteredDisk(new FolderDisk(folder), (ms) => {
              this.syncs.add(ms, 1);
            }),
            identity: committee.genesisDigest,
          })
        : new MemoryStore({ blockBytesMax: MEMORY_LOG_BYTES });
    this.node = makeConsensusNode({
      committee,
      ownIndex: index,
      parameters,
      signer: benchSigner(index),
      network: this.metered(network),
      store,
      application: new ChainApplication(committee.genesisDigest),
      onNotice: (notice) => {
        this.note(notice);
      },
    });
    this.load = new TransactionLoad({
      rate: settings.load / (settings.validators - settings.crashed),
      transactionBytes: settings.transactionBytes,
      batchBytesMax: parameters.blockTransactionBytesMax,
      source: index,
      hasRoom: (sizeBytes) =>
        this.submittedBytes + sizeBytes <= parameters.pendingTransactionBytesMax,
      submit: (batch, dueAt) => {
        const sizeBytes = batch.frames.length;
        this.submitted.set(batch.id, { dueAt, count: batch.count, sizeBytes });
        this.submittedBytes += sizeBytes;
        this.counts.offered += batch.count;
        this.node.driver.submit(batch);
      },
      turnAway: (count) => {
        this.counts.offered += count;
        this.counts.refused += count;
      },
    });
  }

  start(): void {
    this.node.driver.start();
    this.load.start();
  }

  stop(): void {
    this.load.stop();
    this.node.driver.stop();
  }

  /** From here on it counts. */
  measure(): void {
    this.counts = noCounts();
    this.latency.clear();
    this.syncs.clear();
    this.startRound = this.round;
    this.startLogBytes = this.logBytes;
  }

  report(): ValidatorReport {
    const { sent, ...counts } = this.counts;
    const waiting = [...this.submitted.values(), ...[...this.proposed.values()].flat()];
    const now = performance.now();
    return {
      index: this.index,
      ...counts,
      waiting: waiting.reduce((sum, { count }) => sum + count, 0),
      oldestWaitingMs: waiting.reduce((oldest, { dueAt }) => Math.max(oldest, now - dueAt), 0),
      rounds: this.round - this.startRound,
      sentBytes: sent,
      logBytes: this.logBytes - this.startLogBytes,
      latency: this.latency.toCounts(),
      syncs: this.syncs.toCounts(),
      lastCommits: this.lastCommits,
    };
  }

  /** True once transactions are ordered. */
  get isRunning(): boolean {
    return this.counts.committed > 0;
  }

  private get round(): number {
    return this.node.core()?.progress.lastOwnRound ?? 0;
  }

  private get logBytes(): number {
    return this.settings.log === "disk" ? statSync(this.logPath).size : 0;
  }

  private metered(network: Network): Network {
    return {
      start: (handler) => {
        network.start(handler);
      },
      send: (peer: number, message: PeerMessage) => {
        const isSent = network.send(peer, message);
        if (isSent) this.counts.sent += messageBytes(message);
        return isSent;
      },
      ban: (peer, forMs) => {
        network.ban(peer, forMs);
      },
      stop: () => {
        network.stop();
      },
    };
  }

  private note(notice: DriverNotice): void {
    switch (notice.kind) {
      case "transactionsProposed":
        this.proposed.set(
          notice.round,
          notice.batches.flatMap((id) => this.take(id) ?? []),
        );
        return;
      case "transactionsRefused":
        this.counts.refused += this.take(notice.batch)?.count ?? 0;
        return;
      case "commit": {
        const { commit, blocks } = notice;
        this.counts.commits++;
        const now = performance.now();
        for (const block of blocks) this.count(block, now);
        this.lastCommits.push({
          index: commit.index,
          digest: toHex(commit.digest),
          transactions: this.orderedCount,
        });
        if (this.lastCommits.length > LAST_COMMITS) this.lastCommits.shift();
        return;
      }
      case "failed":
        this.onFailure(notice.error);
        return;
      case "misbehaved":
        this.onFailure(
          benchFailed(`it charges validator ${notice.peer} with ${notice.code}: ${notice.detail}`),
        );
        return;
      case "equivocation":
      case "clockAhead":
      case "epochEnded":
      case "connected":
      case "disconnected":
      case "banned":
      case "started":
        return;
    }
  }

  private take(batch: number): Submitted | undefined {
    const submitted = this.submitted.get(batch);
    this.submitted.delete(batch);
    this.submittedBytes -= submitted?.sizeBytes ?? 0;
    return submitted;
  }

  /** A block is ordered. Its payload begins with the number of its transactions: nothing else of it is read. */
  private count(block: Block, now: number): void {
    const transactions = new Reader(block.payload).length(block.payload.length);
    this.counts.committed += transactions;
    this.orderedCount += transactions;
    if (block.author !== this.index) return;
    let known = 0;
    for (const { dueAt, count } of this.proposed.get(block.round) ?? []) {
      this.latency.add(now - dueAt, count);
      known += count;
    }
    this.counts.resubmitted += transactions - known;
    this.proposed.delete(block.round);
    // What is so far below is never ordered: its transactions came again in a later block, under no batch of ours.
    for (const round of this.proposed.keys()) {
      if (round > block.round - 2 * this.parameters.gcDepthRounds) break; // ascending, as they were proposed
      this.proposed.delete(round);
    }
  }
}
