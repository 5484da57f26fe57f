/**
 * A whole network in one thread: n validators, virtual time, one seed. Nothing here waits: the next event is taken and
 * happens, until the run has reached its round and has shown that what failed has healed. Same seed, same run.
 */
import { present, SomaError } from "../../base/errors.ts";
import { toHex } from "../../protocol/base/bytes.ts";
import type { Machine } from "../../protocol/base/effects.ts";
import type { ConsensusParameters } from "../../protocol/base/parameters.ts";
import type { AuthorityIndex, Block, Round } from "../../protocol/consensus/block.ts";
import { BlockVerifier, type VerifiedBlock } from "../../protocol/consensus/block-verifier.ts";
import type { Committee } from "../../protocol/consensus/committee.ts";
import { ConsensusCore } from "../../protocol/consensus/core.ts";
import type {
  ConsensusEffect,
  ConsensusEvent,
  LogRecord,
} from "../../protocol/consensus/events.ts";
import {
  type LeaderSchedule,
  StakeWeightedSchedule,
} from "../../protocol/consensus/leader-schedule.ts";
import type { ConsensusOptions } from "../../protocol/consensus/parts.ts";
import { type Rng, seededRng } from "../../tokenizers/random.ts";
import type { DriverNotice } from "../runtime/driver.ts";
import { Checks } from "./checks.ts";
import { SimulatedDisk } from "./disk.ts";
import { EventQueue, type Micros, MS, SECOND } from "./event-queue.ts";
import { FaultCounts } from "./fault-counts.ts";
import { FaultInjector } from "./fault-injector.ts";
import type { FaultPlan } from "./faults.ts";
import { FaultyValidator } from "./faulty-validator.ts";
import { Host } from "./host.ts";
import { JumpAttack } from "./jump-attack.ts";
import { Liveness } from "./liveness.ts";
import { misconductOf } from "./misconduct.ts";
import { SimulatedNetwork } from "./network.ts";
import type { Seats } from "./seats.ts";
import { SplitAttack } from "./split-attack.ts";
import { Trace, type TraceSink } from "./trace.ts";
import { SimulatedValidator, type Watcher } from "./validator.ts";
import { Workload } from "./workload.ts";

export interface WorldOptions {
  readonly seed: number;
  readonly seats: Seats;
  readonly parameters: ConsensusParameters;
  readonly plan: FaultPlan;
  /** Every correct validator commits a leader of this round or a later one. */
  readonly rounds: Round;
  readonly sink?: TraceSink;
  /** Keep every block that goes into the log of this validator, or of the first correct one: for a drawing. */
  readonly keepsBlocksOf?: AuthorityIndex | "first";
  /** In place of the core: how a test plants a bug. */
  readonly makeCore?: (options: ConsensusOptions) => Machine<ConsensusEvent, ConsensusEffect>;
}

/** How often is looked at what has no event of its own. */
const TICK: Micros = 50 * MS;
/** In so long a block is ordered, or collected and its transactions ordered with another one. */
const SETTLE_MAX: Micros = 30 * SECOND;
/** Validators start one after another, within this time. */
const START_SPREAD: Micros = 100 * MS;

export class World {
  readonly checks: Checks;
  readonly liveness: Liveness;
  readonly trace: Trace;
  readonly network: SimulatedNetwork;
  readonly workload: Workload;
  readonly counts: FaultCounts;
  readonly validators = new Map<AuthorityIndex, SimulatedValidator>();
  /** By digest. */
  readonly keptBlocks = new Map<string, VerifiedBlock>();
  /** Whose blocks are kept. */
  readonly viewer: AuthorityIndex | undefined;
  private readonly options: WorldOptions;
  private readonly queue = new EventQueue();
  private readonly schedule: LeaderSchedule;
  private readonly splitAttack: SplitAttack;
  private readonly injector: FaultInjector;
  private readonly correct: readonly AuthorityIndex[];
  private readonly workRng: Rng;
  /** When every correct validator had committed the last round asked for. */
  private arrivedAt: Micros | undefined;
  private isOver = false;

  constructor(options: WorldOptions) {
    this.options = options;
    const { seed, seats, plan, parameters, sink } = options;
    const { committee } = seats;
    const { queue } = this;
    const now = (): Micros => queue.now;
    const everyone = Array.from({ length: committee.size }, (_, i) => i);
    this.correct = everyone.filter((i) => !plan.faulty.has(i));
    this.viewer = options.keepsBlocksOf === "first" ? this.correct[0] : options.keepsBlocksOf;
    this.schedule = new StakeWeightedSchedule(committee, parameters.leadersPerRound);
    const misconducts = new Set(plan.faulty.values());
    this.splitAttack = new SplitAttack(this.correct, this.schedule);
    const attacks = [
      ...(misconducts.has("jump") ? [new JumpAttack(this.correct, this.schedule)] : []),
      ...(misconducts.has("split") ? [this.splitAttack] : []),
    ];
    this.trace = new Trace(now, sink);
    this.counts = new FaultCounts(plan.kinds);
    this.countClocks();
    this.workRng = seededRng(seed, "work");
    this.workload = new Workload(seededRng(seed, "transactions"));
    this.network = new SimulatedNetwork({
      queue,
      rng: seededRng(seed, "network"),
      size: committee.size,
      model: plan.model,
      onDelivery: (from, to, message) => {
        this.trace.delivered(from, to, message);
      },
      lag: (from, to, message) =>
        attacks.reduce((sum, each) => sum + each.lagOf(from, to, message), 0),
      onMishap: (mishap) => {
        this.counts.add(mishap);
      },
    });
    this.checks = new Checks({
      correct: this.correct,
      now,
      onViolation: ({ kind, validator, detail }) => {
        this.trace.note(validator, 1, () => `VIOLATION ${kind}: ${detail}`);
      },
      onAgreed: (commit) => {
        this.liveness.agreed(commit, queue.now);
      },
    });
    this.liveness = new Liveness(plan, this.checks, this.correct);
    for (const index of everyone) this.seat(index);
    this.injector = new FaultInjector({
      plan,
      queue,
      network: this.network,
      validators: this.validators,
      trace: this.trace,
      counts: this.counts,
      onLoss: (validator, loses) => {
        this.checks.diskDamaged(validator);
        if (loses !== "bit") this.workload.forgotten(validator);
        if (loses === "all") this.checks.forgotten(validator);
      },
    });
  }

  private countClocks(): void {
    const { skewsMs } = this.options.plan;
    for (const index of this.correct) if (skewsMs[index] !== 0) this.counts.add("skew");
  }

  /** The committee and what it has agreed on. */
  get setting(): { readonly committee: Committee; readonly parameters: ConsensusParameters } {
    const { seats, parameters } = this.options;
    return { committee: seats.committee, parameters };
  }

  get now(): Micros {
    return this.queue.now;
  }

  /** Until the end, or until it is plain that there will be none. */
  run(): void {
    this.injector.schedule();
    this.tick();
    while (!this.isOver && this.queue.step());
    if (this.liveness.isLost) return; // what is owed is a consequence
    for (const [validator, batches] of this.workload.owed()) {
      this.checks.lost(validator, `batches ${batches.join(", ")} are promised and not committed`);
    }
  }

  // ---- who takes part ----

  private seat(index: AuthorityIndex): void {
    const start = this.options.plan.faulty.has(index)
      ? this.seatFaulty(index)
      : this.seatCorrect(index);
    this.queue.after(this.workRng.uniform(START_SPREAD), start);
  }

  private seatCorrect(index: AuthorityIndex): () => void {
    const { seed, seats, parameters, plan, makeCore } = this.options;
    const { committee, checkSignature } = seats;
    const signer = present(seats.signers[index], "a seat has a key");
    const validator = new SimulatedValidator({
      index,
      committee,
      parameters,
      makeCore: (ownIndex, recovered) => {
        const made: ConsensusOptions = {
          committee,
          ownIndex,
          parameters,
          signer,
          checkSignature,
          recovered,
        };
        return makeCore?.(made) ?? new ConsensusCore(made);
      },
      queue: this.queue,
      network: this.network,
      disk: new SimulatedDisk(this.queue, seededRng(seed, `disk/${index}`)),
      watcher: this.watcher(),
      skewMs: plan.skewsMs[index] ?? 0,
    });
    this.validators.set(index, validator);
    return () => {
      validator.start();
    };
  }

  private seatFaulty(index: AuthorityIndex): () => void {
    const { seed, seats, parameters, plan } = this.options;
    const { committee, checkSignature } = seats;
    const name = present(plan.faulty.get(index), "it is faulty");
    const host = new Host((error) => {
      throw error; // a mistake of ours
    });
    const validator = new FaultyValidator({
      index,
      committee,
      signer: present(seats.signers[index], "a seat has a key"),
      verifier: new BlockVerifier({ committee, parameters, checkSignature }),
      schedule: this.schedule,
      splitAttack: this.splitAttack,
      queue: this.queue,
      rng: seededRng(seed, `faulty/${index}`),
      send: (peer, message) => this.network.send(index, peer, message),
      misconduct: misconductOf(name),
      onMisconduct: (times) => {
        this.counts.add(name, times);
      },
    });
    return () => {
      host.start(() => {
        this.network.attach(index, {
          handler: validator,
          enter: (run) => {
            host.enter(host.life, run);
          },
        });
        validator.start();
      });
    };
  }

  // ---- what is watched ----

  private watcher(): Watcher {
    return {
      sent: (validator, block, isDurable) => {
        this.checks.sent(validator, block, isDurable);
      },
      restored: (validator, { index, digest }) => {
        this.checks.restarted(validator, index, digest);
      },
      committed: (validator, commit, blocks: readonly Block[]) => {
        this.trace.note(validator, 1000 + commit.index, () => {
          const { index, leader } = commit;
          return `commits ${index}: leader of round ${leader.round}, ${blocks.length} blocks`;
        });
        this.checks.committed(validator, commit, blocks);
        this.workload.committed(validator, blocks, this.queue.now);
      },
      noticed: (validator, notice) => {
        this.noticed(validator, notice);
      },
      logged: (validator, records) => {
        if (validator === this.viewer) this.keepBlocks(records);
      },
      flushing: (validator) => this.checks.flushing(validator),
      died: (validator, error) => {
        this.died(validator, error);
      },
    };
  }

  private noticed(validator: AuthorityIndex, notice: DriverNotice): void {
    switch (notice.kind) {
      case "transactionsProposed":
        this.workload.promised(notice.batches);
        return;
      case "misbehaved":
        this.trace.note(validator, 11, () => `charges ${notice.peer}: ${notice.detail}`);
        this.checks.blamed(notice.peer, validator, notice.detail);
        return;
      case "equivocation":
        this.trace.note(validator, 12, () => `meets twins of ${notice.evidence.author}`);
        return;
      case "banned":
      case "clockAhead":
      case "commit":
      case "connected":
      case "disconnected":
      case "epochEnded":
      case "failed":
      case "started":
      case "transactionsRefused":
        return; // for people; the checks watch the cores themselves
    }
  }

  private died(validator: AuthorityIndex, error: unknown): void {
    if (this.injector.died(validator, error)) return;
    const hasHalted = error instanceof SomaError && error.code === "CONSENSUS_HALTED";
    if (hasHalted && this.checks.mayRetire(validator)) this.workload.forgotten(validator);
    else this.checks.halted(validator, String(error));
  }

  private keepBlocks(records: readonly LogRecord[]): void {
    for (const record of records) {
      if (record.kind === "block") this.keptBlocks.set(toHex(record.block.digest), record.block);
    }
  }

  // ---- what has no event of its own ----

  private tick(): void {
    this.liveness.tick(this.queue.now);
    const { now } = this.queue;
    if (this.liveness.backAfter !== undefined && this.checks.lowestRound >= this.options.rounds) {
      this.arrivedAt ??= now;
    }
    if (this.liveness.isLost || this.isSettled(now)) {
      this.isOver = true;
      return;
    }
    if (this.arrivedAt === undefined) this.giveWork();
    this.queue.after(TICK, () => {
      this.tick();
    });
  }

  /** All are where they were to come, and what is owed is committed, or never will be. */
  private isSettled(now: Micros): boolean {
    if (this.arrivedAt === undefined) return false;
    return this.workload.owed().size === 0 || now > this.arrivedAt + SETTLE_MAX;
  }

  private giveWork(): void {
    const index = present(
      this.correct[this.workRng.uniform(this.correct.length)],
      "one is correct",
    );
    const validator = this.validators.get(index);
    if (validator?.host.isUp !== true) return;
    validator.submit(this.workload.make(index, this.queue.now));
  }
}
