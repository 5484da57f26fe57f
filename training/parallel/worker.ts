/** Entry of a process that trains with a leader: the leader's updates on its own rows of every batch, and nothing else. */
import { openExperiment, type Experiment } from "../experiment.ts";
import { assertFinite } from "../gradients.ts";
import { inputWorkerCount, openInput } from "../input/open.ts";
import { OBJECTIVES } from "../objectives/registry.ts";
import { prepareStep } from "../combine.ts";
import { AdamW, clipScale } from "../optimizer.ts";
import { readState, type TrainState } from "../state.ts";
import { Group } from "./group.ts";
import { comparisonIsDue, weightsDigest, type Order, type WorkerJob } from "./job.ts";
import { joinTeam } from "./member.ts";
import { MEMORY_FD } from "./rendezvous.ts";
import { SharedMemory } from "./shared-memory.ts";
import { spreadGradients } from "./spread.ts";

joinTeam(async (rendezvous, told) => {
  const job = told as WorkerJob;
  const group = new Group(rendezvous, new SharedMemory(MEMORY_FD));
  // Only the leader validates.
  const config = { ...job.config, validation: { ...job.config.validation, groups: 0 } };
  const experiment = await openExperiment(config, {
    objectives: OBJECTIVES,
    warn: () => undefined,
  });
  const resume = job.state === undefined ? undefined : await readState(job.state);
  await follow(experiment, group, resume, job.overfitBatches);
});

/** Never returns: the leader ends its members. @throws SomaError as the trainer does */
async function follow(
  experiment: Experiment,
  group: Group,
  resume: TrainState | undefined,
  overfitBatches: number | undefined,
): Promise<never> {
  const { config, samplers, inputJob: job, losses, encoder, parameters } = experiment;
  const optimizer = new AdamW(parameters, config);
  if (resume !== undefined) optimizer.restore(resume.adam);
  let step = resume?.counters.step ?? 0; // updates done
  const { rank, size } = group;
  const input = openInput(
    { samplers, job },
    {
      first: step * config.accumulate,
      overfitBatches,
      workers: inputWorkerCount(config),
      takes: config.accumulate,
      part: { rank, size },
    },
  );
  await group.agree(weightsDigest(parameters));
  for (;;) {
    const drawn = await input.take(config.accumulate);
    const { learningRate } = JSON.parse(await group.hear()) as Order;
    const steps = drawn.map((batch) => prepareStep(batch, losses));
    const gradients = await spreadGradients(steps, encoder, parameters, group);
    assertFinite(gradients, step);
    const gradientScale = clipScale(gradients.norm, config.clipNorm);
    optimizer.update(gradients.arrays, { learningRate, gradientScale });
    step++;
    if (comparisonIsDue(step)) await group.agree(weightsDigest(parameters));
  }
}
