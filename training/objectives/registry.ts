/** Name → objective, one line each. */
import type { ObjectiveFactory } from "../objective.ts";
import { contrastive } from "./contrastive/objective.ts";
import { differential } from "./differential/objective.ts";
import { pairing } from "./pairing/objective.ts";

export const OBJECTIVES: Readonly<Record<string, ObjectiveFactory>> = {
  contrastive,
  pairing,
  differential,
};
