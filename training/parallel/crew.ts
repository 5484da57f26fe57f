/** The processes that train together with this one, as the trainer sees them. */
import { availableParallelism } from "node:os";
import { SomaError } from "../../base/errors.ts";
import type { TransformerEncoder } from "../../models/transformer.ts";
import type { Variable } from "../../models/backend.ts";
import type { TrainConfig } from "../config.ts";
import type { Experiment } from "../experiment.ts";
import type { EmbeddingStep } from "../objective.ts";
import { Group, groupBytes } from "./group.ts";
import { comparisonIsDue, weightsDigest, type Order, type WorkerJob } from "./job.ts";
import type { Part } from "./share.ts";
import { SharedMemory } from "./shared-memory.ts";
import { spreadGradients, type SpreadGradients } from "./spread.ts";
import { Team } from "./team.ts";

/** What a library that computes takes its number of threads from, when it is loaded. */
const THREAD_VARIABLES = ["TF_NUM_INTRAOP_THREADS", "OMP_NUM_THREADS"] as const;

/**
 * Before the backend is started: give each of the config's processes its share of the cores, unless the environment says
 * how many threads to use. The others inherit it.
 * @throws SomaError BAD_CONFIG (usage) if there are more workers than groups in a batch
 */
export function prepareForCrew(
  { workers, batchSize }: TrainConfig,
  environment = process.env,
  cores = availableParallelism(),
): void {
  if (workers === 1) return;
  if (workers > batchSize) {
    throw new SomaError({
      code: "BAD_CONFIG",
      kind: "usage",
      what: `a batch of ${batchSize} groups cannot be shared by ${workers} workers`,
      next: "use fewer --workers, or a larger --batch-size",
    });
  }
  const threads = Math.max(1, Math.floor(cores / workers));
  for (const name of THREAD_VARIABLES) environment[name] ??= String(threads);
}

/** The other processes of a config; undefined if it has none. @throws SomaError NO_SHARED_MEMORY (resources) */
export function crewOf(experiment: Experiment, job: Omit<WorkerJob, "config">): Crew | undefined {
  return experiment.config.workers === 1 ? undefined : new Crew(experiment, job);
}

export class Crew {
  private readonly team: Team;
  private readonly memory: SharedMemory;
  private readonly group: Group;
  private readonly encoder: TransformerEncoder;
  private readonly parameters: ReadonlyMap<string, Variable>;

  /**
   * Start the other `config.workers` − 1 processes; they load while this one goes on. `close()` must follow.
   * @param entry  the others' program, compiled; given by tests
   * @throws SomaError NO_SHARED_MEMORY (resources)
   */
  constructor(
    experiment: Experiment,
    job: Omit<WorkerJob, "config">,
    entry = new URL("./worker.js", import.meta.url),
  ) {
    const { config, encoder, parameters } = experiment;
    const size = config.workers;
    this.encoder = encoder;
    this.parameters = parameters;
    this.memory = SharedMemory.create(groupBytes(size), `soma-train-${process.pid}`);
    this.team = new Team({ entry, size, memory: this.memory, job: { ...job, config }, env: {} });
    this.group = new Group(this.team, this.memory);
  }

  /** This process's part of every batch. */
  get part(): Part {
    return { rank: 0, size: this.group.size };
  }

  /** Wait until all have loaded; they begin with the same weights, to the last bit. @throws SomaError as `gradients` */
  async begin(): Promise<void> {
    await this.group.agree(weightsDigest(this.parameters));
  }

  /**
   * Loss and gradients of an update by all processes, each of which then makes the same update.
   * @param steps  with this process's rows of each batch
   * @throws SomaError WORKER_LOST (failure), WORKER_SILENT (timedOut), WORKERS_DIFFER (failure), or what another
   *   process failed with
   */
  async gradients(steps: readonly EmbeddingStep[], order: Order): Promise<SpreadGradients> {
    await this.group.hear(JSON.stringify(order));
    return spreadGradients(steps, this.encoder, this.parameters, this.group);
  }

  /** To be called after each update. @param step updates done @throws SomaError WORKERS_DIFFER (failure) */
  async compareWeights(step: number): Promise<void> {
    if (comparisonIsDue(step)) await this.group.agree(weightsDigest(this.parameters));
  }

  /** Ends the other processes, whatever they are at. */
  async close(): Promise<void> {
    await this.team.close();
    this.memory.close();
  }
}
