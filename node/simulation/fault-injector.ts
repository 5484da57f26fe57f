/** Lets a plan's faults happen, brings back what they took down, and ends them all at the healing. */
import { assert, SomaError } from "../../base/errors.ts";
import { type AuthorityIndex, authorName } from "../../protocol/consensus/block.ts";
import { HIGHEST_SIGNED_FILE, LOG_FILE } from "../storage/log-store.ts";
import { type EventQueue, type Micros, SECOND } from "./event-queue.ts";
import type { FaultPlan, LinkName, Loss, TimedFault } from "./faults.ts";
import type { SimulatedNetwork } from "./network.ts";
import type { Trace } from "./trace.ts";
import type { SimulatedValidator } from "./validator.ts";

export interface InjectorOptions {
  readonly plan: FaultPlan;
  readonly queue: EventQueue;
  readonly network: SimulatedNetwork;
  readonly validators: ReadonlyMap<AuthorityIndex, SimulatedValidator>;
  readonly trace: Trace;
  /** A validator lost its log, and what it signed last too. */
  readonly onForgotten: (validator: AuthorityIndex, hasForgottenAll: boolean) => void;
}

/** What a process is about to die of, and how it comes back. */
interface Fate {
  readonly downFor: Micros;
  readonly isPowerLost: boolean;
  readonly loses: Loss;
  /** It may end with such an error. */
  readonly errors: readonly string[];
}

/** How a process says that its disk fails: by base/files.ts. */
const DISK_ERRORS = ["DISK_FULL", "WRITE_FAILED"];
/** How soon a process is started again when there is nothing to wait for. */
const SOON: Micros = SECOND / 10;

export class FaultInjector {
  private readonly options: InjectorOptions;
  private readonly fates = new Map<AuthorityIndex, Fate>();
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
    if (fate?.isPowerLost === true) this.validator(index).disk.crash();
    const downFor = this.isHealed || fate === undefined ? SOON : fate.downFor;
    this.options.queue.after(downFor, () => {
      this.restart(index, fate?.loses ?? "nothing");
    });
    return true;
  }

  private happen(fault: TimedFault): void {
    switch (fault.kind) {
      case "crash": {
        const { validator: index, downFor, isPowerLost, loses, effects } = fault;
        const { host } = this.validator(index);
        if (!host.isUp || this.fates.has(index)) return;
        this.fates.set(index, { downFor, isPowerLost, loses, errors: [] });
        host.arm(effects);
        this.note(index, 3, () => `will die before effect ${effects}, and lose ${loses}`);
        return;
      }
      case "disk": {
        const { validator: index, downFor, failure } = fault;
        if (this.fates.has(index)) return;
        this.fates.set(index, {
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
        this.validator(fault.validator).setSkew(fault.skewMs);
        this.note(fault.validator, 5, () => `its clock is set ${fault.skewMs} ms off`);
        return;
      case "cut":
      case "mend":
      case "hold":
      case "release":
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
    this.note(index, 7, () => `stands still for ${lasts / SECOND} s`);
    this.options.queue.after(lasts, () => {
      if (host.life !== life || !host.isPaused) return;
      this.note(index, 8, () => "goes on");
      host.resume();
    });
  }

  private restart(index: AuthorityIndex, loses: Loss): void {
    const validator = this.validator(index);
    if (validator.host.isUp) return;
    this.note(index, 9, () => `starts${loses === "nothing" ? "" : `, having lost ${loses}`}`);
    switch (loses) {
      case "nothing":
        break;
      case "bit":
        // If it lies where it was promised, the process ends at once and leaves the log to whoever runs it.
        this.fates.set(index, {
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
        this.options.onForgotten(index, false);
        break;
      case "all":
        validator.disk.wipe([]);
        this.options.onForgotten(index, true);
        break;
    }
    validator.start();
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
      if (!validator.host.isUp)
        this.options.queue.after(SOON, () => {
          this.restart(index, "nothing");
        });
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
