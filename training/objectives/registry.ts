/** Name → objective, one line each. */
import type { Objective } from "../objective.ts";
import { contrastiveLoss } from "./contrastive/loss.ts";
import { differentialLoss } from "./differential/loss.ts";
import { pairingLoss } from "./pairing/loss.ts";
import { SAMPLERS } from "./samplers.ts";

export const OBJECTIVES: Readonly<Record<keyof typeof SAMPLERS, Objective>> = {
  contrastive: { sampler: SAMPLERS.contrastive, loss: contrastiveLoss },
  pairing: { sampler: SAMPLERS.pairing, loss: pairingLoss },
  differential: { sampler: SAMPLERS.differential, loss: differentialLoss },
};
