/**
 * A correct validator of a run: the driver and the core that every node runs, on ports of the simulator. The driver
 * lives and dies with its process; what is kept between its lives is the disk and nothing else.
 */
import { SomaError } from "../../base/errors.ts";
import type { Machine } from "../../protocol/base/effects.ts";
import type { ConsensusParameters } from "../../protocol/base/parameters.ts";
import type { AuthorityIndex, Block, Round } from "../../protocol/consensus/block.ts";
import type { Commit } from "../../protocol/consensus/commit.ts";
import type {
  ConsensusEffect,
  ConsensusEvent,
  LogRecord,
  RecoveredLog,
  TransactionBatch,
} from "../../protocol/consensus/events.ts";
import type { Committee } from "../../protocol/consensus/committee.ts";
import { ConsensusDriver, type DriverNotice } from "../runtime/driver.ts";
import type { Application, Clock, Network, Store, Watermark } from "../runtime/ports.ts";
import { SteadyClock } from "../runtime/steady-clock.ts";
import { openLogStore } from "../storage/log-store.ts";
import { SALT_BYTES } from "../storage/record.ts";
import { authorOf, roundOf } from "./block-place.ts";
import type { SimulatedDisk } from "./disk.ts";
import { type EventQueue, MS } from "./event-queue.ts";
import { Host } from "./host.ts";
import type { SimulatedNetwork } from "./network.ts";
import { GENESIS_MS } from "./seats.ts";

export type CoreMaker = (
  validator: AuthorityIndex,
  recovered: RecoveredLog,
) => Machine<ConsensusEvent, ConsensusEffect>;

/** What whoever watches the run is told. */
export interface Watcher {
  /** A block on its way out. @param isDurable whether a flush has answered for it, if it is the validator's own */
  sent(validator: AuthorityIndex, block: Uint8Array, isDurable: boolean): void;
  restored(validator: AuthorityIndex, watermark: Watermark): void;
  committed(validator: AuthorityIndex, commit: Commit, blocks: readonly Block[]): void;
  noticed(validator: AuthorityIndex, notice: DriverNotice): void;
  /** Blocks and commits go into its log. */
  logged(validator: AuthorityIndex, records: readonly LogRecord[]): void;
  /** What its log holds is to be made durable. @returns what to call when it is */
  flushing(validator: AuthorityIndex): () => void;
  /** Its process is gone. @param error why, if it ended by itself */
  died(validator: AuthorityIndex, error: unknown): void;
}

export interface ValidatorOptions {
  readonly index: AuthorityIndex;
  readonly committee: Committee;
  readonly parameters: ConsensusParameters;
  readonly makeCore: CoreMaker;
  readonly queue: EventQueue;
  readonly network: SimulatedNetwork;
  readonly disk: SimulatedDisk;
  readonly watcher: Watcher;
  /** Its clock against the true one. */
  readonly skewMs: number;
}

export class SimulatedValidator {
  readonly index: AuthorityIndex;
  readonly host: Host;
  readonly disk: SimulatedDisk;
  private readonly options: ValidatorOptions;
  private driver: ConsensusDriver | undefined;
  private skewMs: number;

  constructor(options: ValidatorOptions) {
    this.options = options;
    this.index = options.index;
    this.disk = options.disk;
    this.skewMs = options.skewMs;
    this.host = new Host((error) => {
      this.gone(error);
    });
  }

  /** Start a process. @param effects it dies before the next but so many-th thing that it asks for */
  start(effects = Infinity): void {
    this.host.start(() => {
      try {
        this.driver = this.drive();
        this.driver.start();
      } catch (error) {
        if (!(error instanceof SomaError)) throw error;
        this.end(error); // the log is damaged
      }
    }, effects);
  }

  /** Kill the process now. Not from within it. */
  kill(): void {
    if (!this.host.isUp) return;
    this.host.kill();
    this.gone(undefined);
  }

  submit(batch: TransactionBatch): void {
    this.host.enter(this.host.life, () => this.driver?.submit(batch));
  }

  setSkew(skewMs: number): void {
    this.skewMs = skewMs;
  }

  private drive(): ConsensusDriver {
    const { committee, parameters, makeCore, watcher } = this.options;
    const ledger = new OwnBlockLedger(this.index);
    return new ConsensusDriver({
      committee,
      ownIndex: this.index,
      parameters,
      makeCore: (recovered) => makeCore(this.index, recovered),
      clock: this.clock(),
      network: this.network(ledger),
      store: ledger.watch(this.store(), this.host, {
        onAppend: (records) => {
          watcher.logged(this.index, records);
        },
        onFlush: () => watcher.flushing(this.index),
      }),
      application: this.application(),
      onNotice: (notice) => {
        watcher.noticed(this.index, notice);
        if (notice.kind === "failed") this.end(notice.error);
      },
    });
  }

  /** The driver has given up; its process ends once it has said so. */
  private end(error: SomaError): void {
    const { life } = this.host;
    this.options.queue.after(0, () => {
      if (!this.host.isUp || this.host.life !== life) return;
      this.host.kill();
      this.gone(error);
    });
  }

  private gone(error: unknown): void {
    this.driver = undefined;
    this.options.network.detach(this.index);
    this.options.watcher.died(this.index, error);
  }

  // ---- ports ----

  /** The clock of a real node, over a wall clock that is skewed and set, and a true one. */
  private clock(): Clock {
    const { queue } = this.options;
    const { host } = this;
    const { life } = host;
    const steady = new SteadyClock({
      wallMs: () => GENESIS_MS + Math.floor(queue.now / MS) + this.skewMs,
      monotonicMs: () => queue.now / MS,
    });
    return {
      now: () => steady.now(),
      schedule: (at, run) => {
        host.effect();
        let isCancelled = false;
        const wait = (): void => {
          queue.after(Math.max(1, at - steady.now()) * MS, () => {
            host.enter(life, () => {
              if (isCancelled) return;
              if (steady.now() >= at) run();
              else wait();
            });
          });
        };
        wait();
        return () => {
          isCancelled = true;
        };
      },
    };
  }

  private store(): Store {
    const { committee } = this.options;
    return openLogStore({
      disk: this.disk.mount(this.host),
      identity: committee.genesisDigest,
      salt: committee.genesisDigest.slice(0, SALT_BYTES), // any will do, if it is always the same
    });
  }

  private network(ledger: OwnBlockLedger): Network {
    const { network, watcher } = this.options;
    const { host, index } = this;
    const { life } = host;
    return {
      start: (handler) => {
        host.effect();
        network.attach(index, {
          handler,
          enter: (run) => {
            host.enter(life, run);
          },
        });
      },
      send: (peer, message) => {
        host.effect();
        if (message.kind === "blocks" || message.kind === "fetchedBlocks") {
          for (const block of message.blocks) {
            watcher.sent(index, block, ledger.holds(block));
          }
        }
        return network.send(index, peer, message);
      },
      ban: (peer, forMs) => {
        network.ban(index, peer, forMs);
      },
      stop: () => {
        network.detach(index);
      },
    };
  }

  /** Keeps nothing of its own: where it stands is in the log. */
  private application(): Application {
    const { watcher, committee } = this.options;
    const { host, index } = this;
    return {
      restore: (applied) => {
        const watermark = applied ?? { index: 0, digest: committee.genesisDigest };
        watcher.restored(index, watermark);
        return watermark;
      },
      apply: (commit, blocks) => {
        host.effect();
        watcher.committed(index, commit, blocks);
        return NO_STATE;
      },
    };
  }
}

const NO_STATE = new Uint8Array();

interface StoreWatcher {
  readonly onAppend: (records: readonly LogRecord[]) => void;
  /** @returns what to call when all that was appended before is durable */
  readonly onFlush: () => () => void;
}

/** Which of our own blocks the store has answered for. */
class OwnBlockLedger {
  private readonly ownIndex: AuthorityIndex;
  /** Up to here they were in the log when this life began. */
  private recoveredRound: Round = 0;
  /** Appended and flushed in this life. */
  private readonly durable = new Set<Round>();
  private appended: Round[] = [];

  constructor(ownIndex: AuthorityIndex) {
    this.ownIndex = ownIndex;
  }

  holds(block: Uint8Array): boolean {
    const round = roundOf(block);
    return (
      authorOf(block) !== this.ownIndex || round <= this.recoveredRound || this.durable.has(round)
    );
  }

  /** The store, watched; its calls are places to die. */
  watch(store: Store, host: Host, { onAppend, onFlush }: StoreWatcher): Store {
    this.recoveredRound = store.lastRound(this.ownIndex);
    return {
      recover: (options) => store.recover(options),
      append: (records) => {
        host.effect();
        for (const record of records) {
          if (record.kind !== "block" || record.block.author !== this.ownIndex) continue;
          this.appended.push(record.block.round);
        }
        store.append(records);
        onAppend(records);
      },
      appendApplied: (record) => {
        host.effect();
        store.appendApplied(record);
      },
      flush: (highestSignedRound, done) => {
        host.effect();
        const flushed = this.appended;
        this.appended = [];
        const onDurable = onFlush();
        store.flush(highestSignedRound, () => {
          for (const round of flushed) this.durable.add(round);
          onDurable();
          done();
        });
      },
      readBlocks: (refs, sizeBytesMax, done) => {
        store.readBlocks(refs, sizeBytesMax, done);
      },
      readCommits: (fromIndex, toIndex, done) => {
        store.readCommits(fromIndex, toIndex, done);
      },
      readBlocksAfter: (commitIndex, countMax, done) => {
        store.readBlocksAfter(commitIndex, countMax, done);
      },
      readLastBlock: (author, done) => {
        store.readLastBlock(author, done);
      },
      lastRound: (author) => store.lastRound(author),
      close: () => {
        store.close();
      },
    };
  }
}
