/** Lets a plan's faults happen, brings back what they took down, and ends them all at the healing. */
import { assert, SomaError } from "../../base/errors.ts";
import { type AuthorityIndex, authorName } from "../../protocol/consensus/block.ts";
import { HIGHEST_SIGNED_FILE, LOG_FILE } from "../storage/log-store.ts";
import { type EventQueue, type Micros, SECOND } from "./event-queue.ts";
import type { FaultCounts } from "./fault-counts.ts";
import type { FaultKind, FaultPlan, LinkName, Loss, TimedFault } from "./faults.ts";
import type { SimulatedNetwork } from "./network.ts";
import type { Trace } from "./trace.ts";
import type { SimulatedValidator } from "./validator.ts";

export interface InjectorOptions {
  readonly plan: FaultPlan;
  readonly queue: EventQueue;
  readonly network: SimulatedNetwork;
  readonly validators: ReadonlyMap<AuthorityIndex, SimulatedValidator>;
  readonly trace: Trace;
  readonly counts: FaultCounts;
  /** A validator starts without something that was on its disk. */
  readonly onLoss: (validator: AuthorityIndex, loses: Exclude<Loss, "nothing">) => void;
}

/** What a process is about to die of, and how it comes back. */
interface Fate {
  readonly cause: FaultKind;
  readonly downFor: Micros;
  readonly isPowerLost: boolean;
  readonly loses: Loss;
  /** It may end with such an error. */
  readonly errors: readonly string[];
  /** The next process dies before the next but so many-th thing that it asks for. */
  readonly againAfter?: number | undefined;
}

/** How a process says that its disk fails: by base/files.ts. */
const DISK_ERRORS = ["DISK_FULL", "WRITE_FAILED"];
/** How soon a process is started again when there is nothing to wait for. */
const SOON: Micros = SECOND / 10;

export class FaultInjector {
  private readonly options: InjectorOptions;
  private readonly fates = new Map<AuthorityIndex, Fate>();
  /** Of those that are down: how they come back. */
  private readonly down = new Map<AuthorityIndex, Fate | undefined>();
  private isHealed = false;

  constructor(options: InjectorOptions) {
    this.options = options;
  }

  schedule(): void {
    const { plan, queue } = this.options;
    for (const fault of plan.timed) {
      queue.at(fault.at, () => {
        this.happen(fault);
      });
    }
    queue.at(plan.healAt, () => {
      this.heal();
    });
  }

  /** A process is gone. @returns false if no fault of the plan explains it: it stays down */
  died(index: AuthorityIndex, error: unknown): boolean {
    const fate = this.fates.get(index);
    this.fates.delete(index);
    const code = error instanceof SomaError ? error.code : String(error);
    this.note(index, 2, () => `died${error === undefined ? "" : ` of ${code}`}`);
    if (error !== undefined && fate?.errors.includes(code) !== true) return false;
    if (fate !== undefined && fate.cause !== "amnesia") this.options.counts.add(fate.cause);
    if (fate?.isPowerLost === true) this.validator(index).disk.crash();
    this.down.set(index, fate);
    this.restartAfter(this.isHealed || fate === undefined ? SOON : fate.downFor, index);
    return true;
  }

  private happen(fault: TimedFault): void {
    switch (fault.kind) {
      case "crash": {
        const { validator: index, cause, downFor, isPowerLost, loses, effects, againAfter } = fault;
        const { host } = this.validator(index);
        if (!host.isUp || this.fates.has(index)) return;
        this.fates.set(index, { cause, downFor, isPowerLost, loses, errors: [], againAfter });
        host.arm(effects);
        this.note(index, 3, () => `will die before effect ${effects}, and lose ${loses}`);
        return;
      }
      case "disk": {
        const { validator: index, downFor, failure } = fault;
        if (!this.validator(index).host.isUp || this.fates.has(index)) return;
        this.fates.set(index, {
          cause: "disk",
          downFor,
          isPowerLost: true, // what a failed sync has left on the disk nobody knows
          loses: "nothing",
          errors: DISK_ERRORS,
        });
        this.validator(index).disk.failNextSync(failure);
        this.note(index, 4, () => `its next sync fails with ${failure}`);
        return;
      }
      case "pause":
        this.pause(fault.validator, fault.lasts);
        return;
      case "setClock":
        this.options.counts.add("skew");
        this.validator(fault.validator).setSkew(fault.skewMs);
        this.note(fault.validator, 5, () => `its clock is set ${fault.skewMs} ms off`);
        return;
      case "cut":
      case "mend":
      case "hold":
      case "release":
        if (fault.kind === "cut") this.options.counts.add("partition");
        if (fault.kind === "hold") this.options.counts.add("clog");
        this.options.network[fault.kind](fault.link.from, fault.link.to);
        this.note(-1, 6, () => `${fault.kind} ${linkName(fault.link)}`);
        return;
    }
  }

  private pause(index: AuthorityIndex, lasts: Micros): void {
    const { host } = this.validator(index);
    if (!host.isUp || host.isPaused) return;
    const { life } = host;
    host.pause();
    this.options.counts.add("pause");
    this.note(index, 7, () => `stands still for ${lasts / SECOND} s`);
    this.options.queue.after(lasts, () => {
      if (host.life !== life || !host.isPaused) return;
      this.note(index, 8, () => "goes on");
      host.resume();
    });
  }

  private restartAfter(delay: Micros, index: AuthorityIndex): void {
    const { life } = this.validator(index).host;
    this.options.queue.after(delay, () => {
      if (this.validator(index).host.life === life) this.restart(index);
    });
  }

  private restart(index: AuthorityIndex): void {
    const validator = this.validator(index);
    if (validator.host.isUp) return;
    const after = this.down.get(index);
    this.down.delete(index);
    const loses = after?.loses ?? "nothing";
    const againAfter = this.isHealed ? undefined : after?.againAfter;
    this.note(index, 9, () => `starts${loses === "nothing" ? "" : `, having lost ${loses}`}`);
    if (loses !== "nothing") {
      this.options.counts.add("amnesia");
      this.options.onLoss(index, loses);
    }
    switch (loses) {
      case "nothing":
        if (after === undefined || againAfter === undefined) break;
        this.fates.set(index, { ...after, downFor: SOON, errors: [], againAfter: undefined });
        this.note(index, 3, () => `will die before effect ${againAfter}`);
        break;
      case "bit":
        // If it lies where it was promised, the process ends at once and leaves the log to whoever runs it.
        this.fates.set(index, {
          cause: "amnesia",
          downFor: SOON,
          isPowerLost: false,
          loses: "log",
          errors: ["LOG_CORRUPT"],
        });
        validator.disk.flipBit(LOG_FILE);
        this.options.queue.after(1, () => {
          if (validator.host.isUp) this.fates.delete(index); // it lay in a tail that was cut off
        });
        break;
      case "log":
        validator.disk.wipe([HIGHEST_SIGNED_FILE]);
        break;
      case "all":
        validator.disk.wipe([]);
        break;
    }
    validator.start(againAfter);
  }

  private heal(): void {
    this.isHealed = true;
    this.note(-1, 10, () => "all is healed but the faulty validators");
    this.options.network.setModel(this.options.plan.healedModel);
    for (const [index, validator] of this.options.validators) {
      // A failure of the disk may have happened already, and not be known to the process yet.
      if (this.fates.get(index)?.errors.length === 0) this.fates.delete(index);
      validator.host.arm(Infinity);
      validator.disk.failNextSync(undefined);
      if (!validator.host.isUp) this.restartAfter(SOON, index);
    }
  }

  private validator(index: AuthorityIndex): SimulatedValidator {
    const validator = this.options.validators.get(index);
    assert(validator !== undefined, "faults befall correct validators");
    return validator;
  }

  private note(place: AuthorityIndex, number: number, describe: () => string): void {
    this.options.trace.note(place, number, describe);
  }
}

function linkName({ from, to }: LinkName): string {
  return `${authorName(from)} → ${authorName(to)}`;
}
