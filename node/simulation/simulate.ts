/** One run from its arguments: what is drawn from the seed, and what comes out of it. */
import { SomaError } from "../../base/errors.ts";
import { toHex, u32Bytes, u64Bytes } from "../../protocol/base/bytes.ts";
import type { Machine } from "../../protocol/base/effects.ts";
import { hashDomain, hashParts } from "../../protocol/base/hash.ts";
import { type ConsensusParameters, consensusParameters } from "../../protocol/base/parameters.ts";
import type { AuthorityIndex, Round } from "../../protocol/consensus/block.ts";
import type { ConsensusEffect, ConsensusEvent } from "../../protocol/consensus/events.ts";
import type { ConsensusOptions } from "../../protocol/consensus/parts.ts";
import { type Rng, seededRng } from "../../tokenizers/random.ts";
import type { Violation } from "./checks.ts";
import { type Micros, MS, SECOND } from "./event-queue.ts";
import type { Injected } from "./fault-counts.ts";
import { drawPlan } from "./fault-plan.ts";
import type { AllowedFaults, FaultKind, FaultPlan } from "./faults.ts";
import type { MisconductName } from "./misconduct.ts";
import { takeSeats } from "./seats.ts";
import type { TraceSink } from "./trace.ts";
import { World } from "./world.ts";

export interface SimulationOptions {
  readonly seed: number;
  readonly validators: number;
  readonly rounds: Round;
  readonly faults: AllowedFaults;
  readonly sink?: TraceSink;
  readonly keepsBlocksOf?: AuthorityIndex | "first";
  /** Let every node check every signature, as real ones do, in place of one for all: for measurements. */
  readonly checksEachSignature?: boolean;
  readonly makeCore?: (options: ConsensusOptions) => Machine<ConsensusEvent, ConsensusEffect>;
  /** In place of what the seed draws. */
  readonly parameters?: Partial<ConsensusParameters>;
  readonly plan?: (drawn: FaultPlan) => FaultPlan;
}

export interface SimulationResult {
  readonly seed: number;
  readonly validators: number;
  readonly rounds: Round;
  /** Those that were on. */
  readonly faults: readonly FaultKind[];
  /** By index: who broke the rules, and how. */
  readonly faulty: Readonly<Record<AuthorityIndex, MisconductName>>;
  readonly commits: number;
  /** Of everything that happened. */
  readonly digest: string;
  /** Of the last commit: names the sequence. */
  readonly commitDigest: string | undefined;
  readonly violations: readonly Violation[];
  /** From the healing to the first new commit, and until every correct validator commits and is committed. */
  readonly firstCommitMs: number | undefined;
  readonly healedMs: number | undefined;
  /** From submitting a transaction to its commit where it was submitted. */
  readonly latencyMs: { readonly p50: number | undefined; readonly p99: number | undefined };
  /** How often each fault happened, of those that were on. */
  readonly injected: Injected;
  readonly virtualSeconds: number;
  readonly events: number;
  readonly messages: number;
  readonly bytes: number;
}

/** Faults are spread over so much of the time that the rounds would take. */
const ROUND_TIME: Micros = 60 * MS;
const FAULT_SHARE = 0.6;
const HORIZON_MIN: Micros = 6 * SECOND;
const DOMAIN = hashDomain("simulation");

export function simulate(options: SimulationOptions): SimulationResult {
  return runWorld(options).result;
}

/** As `simulate`, and the world at the end of the run. */
export function runWorld(options: SimulationOptions): {
  readonly result: SimulationResult;
  readonly world: World;
  readonly plan: FaultPlan;
} {
  const { seed, validators, rounds, faults } = options;
  const rng = seededRng(seed, "setting");
  const drawn = faults.areDrawn ? drawSetting(validators, rng) : PLAIN;
  const parameters = consensusParameters({ ...drawn.parameters, ...options.parameters });
  if (validators < parameters.leadersPerRound) throw tooFew(validators, parameters.leadersPerRound);
  const seats = takeSeats(
    drawn.stakes ?? Array.from({ length: validators }, () => 1),
    options.checksEachSignature !== true,
  );
  const horizon =
    faults.kinds.length === 0 ? 0 : Math.max(HORIZON_MIN, rounds * ROUND_TIME * FAULT_SHARE);
  const { committee } = seats;
  const drawnPlan = drawPlan({ seed, allowed: faults, committee, horizon: Math.floor(horizon) });
  const plan = options.plan?.(drawnPlan) ?? drawnPlan;
  const world = new World({ ...options, seats, parameters, plan });
  world.run();
  return { result: resultOf(options, plan, world), world, plan };
}

interface Setting {
  readonly parameters: Partial<ConsensusParameters>;
  readonly stakes: readonly number[] | undefined;
}

const PLAIN: Setting = { parameters: {}, stakes: undefined };

/** What a network may choose, and every choice must bear every fault. */
function drawSetting(validators: number, rng: Rng): Setting {
  const leadersPerRound = 1 + rng.uniform(Math.min(3, validators));
  const gcDepthRounds = [15, 30, 60][rng.uniform(3)] ?? 60;
  const commitLagStart = [20, 50][rng.uniform(2)] ?? 50;
  const areEven = rng.uniform(3) > 0;
  return {
    parameters: { leadersPerRound, gcDepthRounds, commitLagStart },
    stakes: areEven ? undefined : Array.from({ length: validators }, () => 2 + rng.uniform(4)),
  };
}

function resultOf(
  { seed, validators, rounds }: SimulationOptions,
  plan: FaultPlan,
  { checks, liveness, trace, network, workload, counts, now }: World,
): SimulationResult {
  const { messages, bytes } = network.traffic;
  const [foldA, foldB] = trace.fold;
  const lastDigest = checks.lastDigest ?? new Uint8Array();
  return {
    seed,
    validators,
    rounds,
    faults: plan.kinds,
    faulty: Object.fromEntries(plan.faulty),
    commits: checks.commitCount,
    digest: toHex(
      hashParts(DOMAIN, u64Bytes(trace.eventCount), u32Bytes(foldA), u32Bytes(foldB), lastDigest),
    ),
    commitDigest: checks.lastDigest === undefined ? undefined : toHex(checks.lastDigest),
    violations: checks.violations,
    firstCommitMs: inMs(liveness.firstCommitAfter),
    healedMs: inMs(liveness.backAfter),
    latencyMs: { p50: inMs(workload.latency(0.5)), p99: inMs(workload.latency(0.99)) },
    injected: counts.injected,
    virtualSeconds: now / SECOND,
    events: trace.eventCount,
    messages,
    bytes,
  };
}

function inMs(time: Micros | undefined): number | undefined {
  return time === undefined ? undefined : time / MS;
}

function tooFew(validators: number, leaders: number): SomaError {
  return new SomaError({
    code: "TOO_FEW_VALIDATORS",
    kind: "usage",
    what: `${validators} validators cannot lead a round of ${leaders} leaders`,
    next: "take more validators",
  });
}
