/**
 * The format of the shared conformance cases of Mysticeti (their `schema` explains every field). Only what the code
 * needs to decide is read; what a case expects is for the checker. Whatever a file holds, what is wrong with it is told
 * with the case and the field: here its form, in case-checks.ts what must fit together.
 */
import { SomaError } from "../../base/errors.ts";
import { parseConfig, z } from "../../base/schema.ts";

/** Names of blocks have a letter for the author. */
export const NAMED_AUTHORITIES_MAX = 26;
/** Rounds are walked one by one: more would be a wait without an end. */
export const ROUNDS_MAX = 100_000;
/** Keys of a committee are made for each case of block rules. */
const KEYED_AUTHORITIES_MAX = 1000;
const WAVE_LENGTH_MAX = 100;
const TRANSACTION_BYTES_MAX = 16 * 1024 * 1024;

const count = z.int().nonnegative();
const round = count.max(ROUNDS_MAX);
const authorIndex = count.max(0xffff);
const stakes = z.array(z.int().positive()).optional();

const drawnBlock = z.object({
  id: z.string(),
  author: authorIndex.optional(),
  round: round.optional(),
  parents: z.array(z.string()),
});

const drawn = {
  name: z.string(),
  authorities: z.int().positive().max(NAMED_AUTHORITIES_MAX),
  stakes,
  blocks: z.array(drawnBlock),
};

const leaderRule = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("round-robin") }),
  z.object({
    kind: z.literal("table"),
    table: z.record(z.string(), z.array(authorIndex)),
  }),
]);

const committerCase = z.object({
  ...drawn,
  waveLength: z
    .int()
    .min(3, "a wave has a leader round, a voting round and a decision round: 3 or more")
    .max(WAVE_LENGTH_MAX),
  leadersPerRound: z.int().positive(),
  pipeline: z.boolean(),
  leaderRule,
  calls: z.array(
    z.object({
      accept: count,
      lastDecided: z
        .object({ round, author: authorIndex.optional(), offset: count.optional() })
        .nullish(),
    }),
  ),
});

const linearizerCase = z.object({
  ...drawn,
  gcDepth: count.nullish(),
  leaders: z.array(z.string()),
});

const clockCase = z.object({
  name: z.string(),
  authorities: z.int().positive().max(0xffff),
  stakes,
  startRound: count,
  steps: z.array(z.array(count).min(2, "a step is [round, author]")),
});

const managerStep = z.discriminatedUnion("op", [
  z.object({ op: z.literal("accept"), ids: z.array(z.string()) }),
  z.object({ op: z.literal("acceptEach"), ids: z.array(z.string()) }),
  z.object({ op: z.literal("acceptCommitted"), ids: z.array(z.string()) }),
  z.object({ op: z.literal("find"), ids: z.array(z.string()) }),
  z.object({ op: z.literal("gc"), round }),
]);

const managerCase = z.object({ ...drawn, steps: z.array(managerStep) });

/** A limit may be named as it likes and be of another kind: what is no number is not one of ours. */
const limits = z.record(z.string(), z.union([count, z.unknown().transform(() => undefined)]));

const validityContext = z.object({
  authorities: z.int().positive().max(KEYED_AUTHORITIES_MAX),
  stakes,
  epoch: count,
  limits: limits.optional(),
});

const validityCase = z.object({
  name: z.string(),
  context: validityContext.optional(),
  block: z.object({
    epoch: count,
    round: count.max(2 ** 32 - 1),
    author: authorIndex,
    signedBy: authorIndex.nullish(),
    ancestors: z.array(z.string()).max(0xffff),
    txBytes: z.array(count.max(TRANSACTION_BYTES_MAX)).optional(),
    txInvalid: z.unknown().optional(),
  }),
});

export type DrawnBlock = z.output<typeof drawnBlock>;
export type CommitterCase = z.output<typeof committerCase>;
export type LinearizerCase = z.output<typeof linearizerCase>;
export type ClockCase = z.output<typeof clockCase>;
export type ManagerCase = z.output<typeof managerCase>;
export type ValidityContext = z.output<typeof validityContext>;
export type ValidityCase = z.output<typeof validityCase>;

export interface CaseFile {
  readonly cases: readonly CommitterCase[];
  readonly linearizer: readonly LinearizerCase[];
  readonly thresholdClock: readonly ClockCase[];
  readonly scoring: readonly LinearizerCase[];
  readonly blockValidity: readonly ValidityCase[];
  readonly blockManager: readonly ManagerCase[];
}

const GROUPS = [
  "cases",
  "linearizer",
  "thresholdClock",
  "scoring",
  "blockValidity",
  "blockManager",
] as const;
type Group = (typeof GROUPS)[number];

/** Each group is a list, or, as block rules may be, one context with a list. */
const groupsSchema = z.object({
  cases: z.array(z.unknown()).optional(),
  linearizer: z.array(z.unknown()).optional(),
  thresholdClock: z.array(z.unknown()).optional(),
  scoring: z.array(z.unknown()).optional(),
  blockValidity: z.union([z.array(z.unknown()), z.record(z.string(), z.unknown())]).optional(),
  blockManager: z.array(z.unknown()).optional(),
} satisfies Record<Group, z.ZodType>);

const named = z.object({ name: z.string() });
const validityGroup = z.object({ context: validityContext, cases: z.array(z.unknown()) });

/** @param path of the file, for messages  @throws SomaError BAD_CONFIG naming the group, the case and the field */
export function parseCaseFile(document: unknown, path: string): CaseFile {
  const groups = parseConfig(groupsSchema, document, path);
  if (GROUPS.every((group) => groups[group] === undefined)) {
    throw new SomaError({
      code: "NO_CASES",
      kind: "usage",
      what: `${path} holds no group of cases`,
      next: `give at least one of ${GROUPS.join(", ")}`,
    });
  }
  const parsed = <S extends z.ZodType>(
    schema: S,
    group: Exclude<Group, "blockValidity">,
  ): readonly z.output<S>[] =>
    (groups[group] ?? []).map((each, i) => parseConfig(schema, each, place(path, group, i, each)));
  return {
    cases: parsed(committerCase, "cases"),
    linearizer: parsed(linearizerCase, "linearizer"),
    thresholdClock: parsed(clockCase, "thresholdClock"),
    scoring: parsed(linearizerCase, "scoring"),
    blockValidity: validityCases(groups.blockValidity ?? [], path),
    blockManager: parsed(managerCase, "blockManager"),
  };
}

/** Cases under one context, or cases that bring their own: one list either way, each with its context. */
function validityCases(
  given: readonly unknown[] | Readonly<Record<string, unknown>>,
  path: string,
): readonly ValidityCase[] {
  const entries: readonly unknown[] = Array.isArray(given) ? given : [given];
  return entries.flatMap((entry, i) => {
    const where = place(path, "blockValidity", i, entry);
    const isGroup = typeof entry === "object" && entry !== null && "cases" in entry;
    if (!isGroup) return [parseConfig(validityCase, entry, where)];
    const { context, cases } = parseConfig(validityGroup, entry, where);
    return cases.map((each, k) => {
      const inner = place(path, `blockValidity[${i}].cases`, k, each);
      return { context, ...parseConfig(validityCase, each, inner) };
    });
  });
}

/** "file: cases[3] "its name"" */
function place(path: string, group: string, index: number, value: unknown): string {
  const { data } = named.safeParse(value);
  return `${path}: ${group}[${index}]${data === undefined ? "" : ` "${data.name}"`}`;
}
