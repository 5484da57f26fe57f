/** Name → objective, one line each. */
import type { Objective } from "../objective.ts";
import { contrastiveLoss } from "./contrastive/loss.ts";
import { differentialLoss } from "./differential/loss.ts";
import { lejepaPass } from "./lejepa/loss.ts";
import { mocoPass } from "./moco/loss.ts";
import { pairingLoss } from "./pairing/loss.ts";
import { SAMPLERS } from "./samplers.ts";
import { simclrLoss } from "./simclr/loss.ts";
import { tripletLoss } from "./triplet/loss.ts";
import { vicregLoss } from "./vicreg/loss.ts";

export const OBJECTIVES = {
  contrastive: { sampler: SAMPLERS.contrastive, loss: contrastiveLoss },
  pairing: { sampler: SAMPLERS.pairing, loss: pairingLoss },
  differential: { sampler: SAMPLERS.differential, loss: differentialLoss },
  triplet: { sampler: SAMPLERS.triplet, loss: tripletLoss },
  simclr: { sampler: SAMPLERS.simclr, loss: simclrLoss },
  moco: { sampler: SAMPLERS.moco, pass: mocoPass },
  vicreg: { sampler: SAMPLERS.vicreg, loss: vicregLoss },
  lejepa: { sampler: SAMPLERS.lejepa, pass: lejepaPass },
} as const satisfies Readonly<Record<keyof typeof SAMPLERS, Objective>>;
