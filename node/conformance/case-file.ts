/**
 * The format of the shared conformance cases of Mysticeti (their `schema` explains every field). Only what the code
 * needs to decide is read; what a case expects is for the checker.
 */
import { z } from "../../base/schema.ts";

const drawnBlock = z.looseObject({
  id: z.string(),
  author: z.int().nonnegative(),
  round: z.int().positive(),
  parents: z.array(z.string()),
});

const drawn = {
  name: z.string(),
  authorities: z.int().positive(),
  stakes: z.array(z.int().positive()).optional(),
  blocks: z.array(drawnBlock),
};

const leaderRule = z.discriminatedUnion("kind", [
  z.looseObject({ kind: z.literal("round-robin") }),
  z.looseObject({
    kind: z.literal("table"),
    table: z.record(z.string(), z.array(z.int().nonnegative())),
  }),
]);

const committerCase = z.looseObject({
  ...drawn,
  waveLength: z.int().min(3),
  leadersPerRound: z.int().positive(),
  pipeline: z.boolean(),
  leaderRule,
  calls: z.array(
    z.looseObject({
      accept: z.int().nonnegative(),
      lastDecided: z
        .looseObject({
          round: z.int().nonnegative(),
          author: z.int().nonnegative().optional(),
          offset: z.int().nonnegative().optional(),
        })
        .nullish(),
    }),
  ),
});

const linearizerCase = z.looseObject({
  ...drawn,
  gcDepth: z.int().nonnegative().nullish(),
  leaders: z.array(z.string()),
});

const scoringCase = linearizerCase;

const clockCase = z.looseObject({
  name: z.string(),
  authorities: z.int().positive(),
  stakes: z.array(z.int().positive()).optional(),
  startRound: z.int().nonnegative(),
  steps: z.array(z.array(z.int().nonnegative()).min(2)),
});

const managerStep = z.discriminatedUnion("op", [
  z.looseObject({ op: z.literal("accept"), ids: z.array(z.string()) }),
  z.looseObject({ op: z.literal("acceptEach"), ids: z.array(z.string()) }),
  z.looseObject({ op: z.literal("acceptCommitted"), ids: z.array(z.string()) }),
  z.looseObject({ op: z.literal("find"), ids: z.array(z.string()) }),
  z.looseObject({ op: z.literal("gc"), round: z.int().nonnegative() }),
]);

const managerCase = z.looseObject({ ...drawn, steps: z.array(managerStep) });

const validityContext = z.looseObject({
  authorities: z.int().positive(),
  stakes: z.array(z.int().positive()).optional(),
  epoch: z.int().nonnegative(),
  limits: z.record(z.string(), z.unknown()).optional(),
});

const validityBlock = z.looseObject({
  epoch: z.int().nonnegative(),
  round: z.int().nonnegative(),
  author: z.int().nonnegative(),
  signedBy: z.int().nonnegative().nullish(),
  ancestors: z.array(z.string()),
  txBytes: z.array(z.int().nonnegative()).optional(),
  txInvalid: z.unknown().optional(),
});

const validityCase = z.looseObject({
  name: z.string(),
  context: validityContext.optional(),
  block: validityBlock,
});

/** Cases under one context, or cases that bring their own: one list either way, each with its context. */
const validityGroup = z
  .looseObject({ context: validityContext, cases: z.array(validityCase) })
  .transform(({ context, cases }) => cases.map((each) => ({ context, ...each })));
const validityCases = z.union([
  validityGroup,
  z
    .array(z.union([validityGroup, validityCase.transform((each) => [each])]))
    .transform((groups) => groups.flat()),
]);

export const caseFileSchema = z.looseObject({
  cases: z.array(committerCase).default([]),
  linearizer: z.array(linearizerCase).default([]),
  thresholdClock: z.array(clockCase).default([]),
  scoring: z.array(scoringCase).default([]),
  blockValidity: validityCases.prefault([]),
  blockManager: z.array(managerCase).default([]),
});

export type CaseFile = z.output<typeof caseFileSchema>;
export type DrawnBlock = z.output<typeof drawnBlock>;
export type CommitterCase = z.output<typeof committerCase>;
export type LinearizerCase = z.output<typeof linearizerCase>;
export type ClockCase = z.output<typeof clockCase>;
export type ManagerCase = z.output<typeof managerCase>;
export type ValidityContext = z.output<typeof validityContext>;
export type ValidityCase = z.output<typeof validityCase>;
