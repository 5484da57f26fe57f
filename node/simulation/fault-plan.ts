/** Draws a plan of faults from a seed. */
import { present } from "../../base/errors.ts";
import type { AuthorityIndex } from "../../protocol/consensus/block.ts";
import type { Committee } from "../../protocol/consensus/committee.ts";
import { type Rng, seededRng } from "../../tokenizers/random.ts";
import { type Micros, SECOND } from "./event-queue.ts";
import type { AllowedFaults, FaultKind, FaultPlan, LinkName, Loss, TimedFault } from "./faults.ts";
import { MISCONDUCTS, type MisconductName } from "./misconduct.ts";
import { CALM, type LinkModel } from "./network.ts";

export interface PlanOptions {
  readonly seed: number;
  readonly allowed: AllowedFaults;
  readonly committee: Committee;
  /** Faults are spread over this time. */
  readonly horizon: Micros;
}

/** Of so many seeds, this many switch a fault on. */
const ACTIVE_OF_3 = 2;
/** For who is healed of a partition and nothing else. Source: guides: faults, F4. */
const COMMIT_LIMIT: Micros = 5 * SECOND;
/** After a clog, or against validators that go on breaking the rules. Source: guides: faults, F5. */
const COMMIT_LIMIT_HARD: Micros = 10 * SECOND;
/** Source: guides: faults, F1 and F2. */
const BACK_LIMIT: Micros = 20 * SECOND;

/** Source: guides: faults, F6. */
const FAR: LinkModel = { ...CALM, name: "60–80 ms", fromMs: 60, toMs: 80 };
const SPIKES = { spikesPerMillion: 10_000, spikeFromMs: 500, spikeToMs: 1500 };
const LOSS = { lostPerMillion: 50_000 };
const DOUBLING = { doubledPerMillion: 50_000 };
/** Source: guides: faults, F7. */
const SKEWS_MS = [0, 0, 120, -120, 5000, -3_600_000];

/** Of so many that die, one dies again before its next process has asked for so many things. */
const AGAIN_OF = 3;
const AGAIN_EFFECTS = 30;

/** A long partition, once in so many. */
const LONG_PARTITION_OF = 8;
const LONG_PARTITION: Micros = 60 * SECOND;

export function drawPlan(options: PlanOptions): FaultPlan {
  const { seed, allowed, committee, horizon } = options;
  const rng = seededRng(seed, "faults");
  const kinds = allowed.kinds.filter(() => !allowed.areDrawn || rng.uniform(3) < ACTIVE_OF_3);
  const isOn = (kind: FaultKind): boolean => kinds.includes(kind);
  const everyone = Array.from({ length: committee.size }, (_, i) => i);
  const { faulty, forgetful } = drawFaulty(committee, kinds, rng);
  const correct = everyone.filter((i) => !faulty.has(i));
  const healedModel = isOn("latency") ? FAR : CALM;
  const draw = new TimedFaults(rng, horizon, correct);
  if (isOn("partition")) draw.partitions(everyone);
  if (isOn("clog")) draw.clog(everyone);
  if (isOn("crash")) draw.crashes();
  if (isOn("outage")) draw.outage();
  if (isOn("amnesia")) draw.amnesia(forgetful);
  if (isOn("disk")) draw.diskFailures();
  if (isOn("pause")) draw.pauses();
  if (isOn("skew")) draw.clockSettings();
  return {
    kinds,
    model: {
      ...healedModel,
      name: `${healedModel.name}, disturbed`,
      ...(isOn("latency") ? SPIKES : {}),
      ...(isOn("loss") ? LOSS : {}),
      ...(isOn("duplication") ? DOUBLING : {}),
      isOrdered: !isOn("reorder"),
    },
    healedModel: { ...healedModel, isOrdered: !isOn("reorder") },
    faulty,
    skewsMs: everyone.map(() => (isOn("skew") ? pick(SKEWS_MS, rng) : 0)),
    timed: draw.faults.toSorted((a, b) => a.at - b.at),
    healAt: draw.end,
    commitLimit: isOn("clog") || faulty.size > 0 ? COMMIT_LIMIT_HARD : COMMIT_LIMIT,
    backLimit: BACK_LIMIT,
  };
}

/**
 * Who breaks the rules, and who loses his log: together at most the stake that a committee bears. One that has lost all
 * it knew is no safer than one that lies.
 */
function drawFaulty(
  committee: Committee,
  kinds: readonly FaultKind[],
  rng: Rng,
): {
  readonly faulty: ReadonlyMap<AuthorityIndex, MisconductName>;
  readonly forgetful: readonly AuthorityIndex[];
} {
  const names = MISCONDUCTS.filter((name) => kinds.includes(name));
  const faulty = new Map<AuthorityIndex, MisconductName>();
  const forgetful: AuthorityIndex[] = [];
  let bearable = committee.totalStake - committee.quorum;
  const isSpread = rng.uniform(2) === 0; // else all that break rules do it in one way: a conspiracy
  const common = names[rng.uniform(Math.max(1, names.length))];
  const faultyMax = rng.uniform(3) === 0 ? 1 + rng.uniform(committee.size) : committee.size;
  const canForget = kinds.includes("amnesia");
  for (const validator of rng.sample(committee.size, committee.size)) {
    const stake = committee.stake(validator);
    if (stake > bearable) continue;
    bearable -= stake;
    const name = isSpread ? names[rng.uniform(Math.max(1, names.length))] : common;
    const forgets = canForget && (name === undefined || rng.uniform(2) === 0);
    if (forgets) forgetful.push(validator);
    else if (name !== undefined && faulty.size < faultyMax) faulty.set(validator, name);
  }
  return { faulty, forgetful };
}

/** Faults with a time, spread over the horizon. */
class TimedFaults {
  readonly faults: TimedFault[] = [];
  private readonly rng: Rng;
  private readonly horizon: Micros;
  private readonly correct: readonly AuthorityIndex[];
  private latest: Micros;

  constructor(rng: Rng, horizon: Micros, correct: readonly AuthorityIndex[]) {
    this.rng = rng;
    this.horizon = horizon;
    this.correct = correct;
    this.latest = horizon;
  }

  /** When the last of them is over. */
  get end(): Micros {
    return this.latest;
  }

  partitions(everyone: readonly AuthorityIndex[]): void {
    for (let count = 1 + this.rng.uniform(2); count > 0; count--) {
      const isLong = this.rng.uniform(LONG_PARTITION_OF) === 0;
      const at = this.someTime();
      const until = at + (isLong ? LONG_PARTITION : this.between(SECOND, 10 * SECOND));
      const few = this.rng.sample(everyone.length, 1 + this.rng.uniform(everyone.length - 1));
      const isOneWay = this.rng.uniform(4) === 0;
      for (const from of few) {
        for (const to of everyone) {
          if (few.includes(to)) continue;
          this.cut({ from, to }, at, until);
          if (!isOneWay) this.cut({ from: to, to: from }, at, until);
        }
      }
    }
  }

  /** Stop links one by one over three seconds, let them go on in another order. Source: guides: faults, F5. */
  clog(everyone: readonly AuthorityIndex[]): void {
    const links = everyone.flatMap((from) =>
      everyone.filter((to) => to !== from).map((to): LinkName => ({ from, to })),
    );
    const at = this.someTime();
    const stopped = Array.from(
      this.rng.sample(links.length, 1 + this.rng.uniform(links.length)),
      (place) => present(links[place], "a sample is of what is there"),
    );
    const over = 3 * SECOND;
    const each = Math.floor(over / stopped.length);
    stopped.forEach((link, i) => {
      this.add({ at: at + i * each, kind: "hold", link });
    });
    const order = this.rng.sample(stopped.length, stopped.length);
    const pause = this.between(0, 2 * SECOND);
    stopped.forEach((link, i) => {
      const place = order[i] ?? i;
      this.add({ at: at + over + pause + place * each, kind: "release", link });
    });
  }

  crashes(): void {
    const count = 1 + this.rng.uniform(2 + Math.floor(this.horizon / SECOND));
    for (let i = 0; i < count; i++)
      this.crash("crash", this.someTime(), this.someone(), this.rng.uniform(2) === 0, "nothing");
  }

  outage(): void {
    const at = this.someTime();
    for (const validator of this.correct) this.crash("outage", at, validator, true, "nothing");
  }

  amnesia(forgetful: readonly AuthorityIndex[]): void {
    for (const validator of forgetful) {
      const loses = pick(["bit", "log", "all"] as const, this.rng);
      const at = this.someTime();
      this.crash("amnesia", at, validator, true, loses);
      this.latest = Math.max(this.latest, at + SECOND); // not healed before it has happened
    }
  }

  diskFailures(): void {
    for (let count = 1 + this.rng.uniform(3); count > 0; count--) {
      this.add({
        at: this.someTime(),
        kind: "disk",
        validator: this.someone(),
        failure: pick(["EIO", "ENOSPC", "EROFS"] as const, this.rng),
        downFor: this.between(SECOND / 10, 3 * SECOND),
      });
    }
  }

  /** Source: guides: faults, F2. */
  pauses(): void {
    for (let count = 1 + this.rng.uniform(3); count > 0; count--) {
      const at = this.someTime();
      const lasts = this.between(SECOND / 2, 10 * SECOND);
      this.add({ at, kind: "pause", validator: this.someone(), lasts });
      this.latest = Math.max(this.latest, at + lasts);
    }
  }

  clockSettings(): void {
    for (let count = 1 + this.rng.uniform(4); count > 0; count--) {
      const skewMs = pick(SKEWS_MS, this.rng);
      this.add({ at: this.someTime(), kind: "setClock", validator: this.someone(), skewMs });
    }
  }

  private crash(
    cause: "crash" | "outage" | "amnesia",
    at: Micros,
    validator: AuthorityIndex,
    isPowerLost: boolean,
    loses: Loss,
  ): void {
    const diesAgain = loses === "nothing" && this.rng.uniform(AGAIN_OF) === 0;
    this.add({
      cause,
      isPowerLost,
      at,
      kind: "crash",
      validator,
      effects: this.rng.uniform(60),
      downFor: this.between(SECOND / 10, 3 * SECOND),
      loses,
      ...(diesAgain ? { againAfter: this.rng.uniform(AGAIN_EFFECTS) } : {}),
    });
  }

  private cut(link: LinkName, at: Micros, until: Micros): void {
    this.add({ at, kind: "cut", link });
    this.add({ at: until, kind: "mend", link });
  }

  private add(fault: TimedFault): void {
    this.faults.push(fault);
    this.latest = Math.max(this.latest, fault.at);
  }

  private someone(): AuthorityIndex {
    return pick(this.correct, this.rng);
  }

  /** Not at once: a network that has not begun has nothing to lose. */
  private someTime(): Micros {
    return this.between(Math.floor(this.horizon / 10), this.horizon);
  }

  private between(from: Micros, to: Micros): Micros {
    return from + this.rng.uniform(to - from + 1);
  }
}

function pick<T>(list: readonly T[], rng: Rng): T {
  return present(list[rng.uniform(list.length)], "a list to pick from is not empty");
}
