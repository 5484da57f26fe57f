import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { runCommitterCase } from "../../../node/conformance/committer-cases.ts";
import {
  runClockCase,
  runLinearizerCase,
  runManagerCase,
  runScoringCase,
} from "../../../node/conformance/component-cases.ts";
import { parseCaseFile } from "../../../node/conformance/case-file.ts";
import { present } from "../../../base/errors.ts";

const PATH = "test/vectors/mysticeti-cases.json";
const DOCUMENT: unknown = JSON.parse(readFileSync(PATH, "utf8"));
const FILE = parseCaseFile(DOCUMENT, PATH);

/** What the file expects, which the program itself never reads. */
interface Expected {
  readonly cases: readonly {
    readonly name: string;
    readonly blameRules: readonly string[];
    readonly calls: readonly ExpectedCall[];
    readonly alternatives?: {
      readonly candidate?: { readonly calls: readonly ("same" | ExpectedCall)[] };
    };
  }[];
  readonly linearizer: readonly {
    readonly expectedCounts: readonly number[];
    readonly mustContain: Readonly<
      Record<string, { readonly ids?: readonly string[]; readonly minRound?: number }>
    >;
  }[];
  readonly thresholdClock: readonly { readonly steps: readonly (readonly number[])[] }[];
  readonly scoring: readonly { readonly expectedScores: readonly number[] }[];
  readonly blockManager: readonly { readonly steps: readonly ExpectedStep[] }[];
}

interface ExpectedCall {
  readonly sequence: readonly string[];
}

interface ExpectedStep {
  readonly accepted?: readonly string[];
  readonly missing?: readonly string[];
  readonly state?: { readonly suspended: readonly string[]; readonly missing: readonly string[] };
}

const EXPECTED = DOCUMENT as Expected;

/** The network's rule is "candidate": where a case's calls hold under other rules only, its alternative says ours. */
function expectedCalls(index: number): readonly (readonly string[])[] {
  const { calls, blameRules, alternatives } = present(EXPECTED.cases[index], "a case");
  if (blameRules.includes("candidate")) return calls.map(({ sequence }) => sequence);
  const ours = alternatives?.candidate?.calls ?? [];
  return calls.map((call, i) => {
    const own = ours[i];
    return own === undefined || own === "same" ? call.sequence : own.sequence;
  });
}

test.each(FILE.cases.map((given, index) => [given.name, given, index] as const))(
  "committer case %s",
  (_name, given, index) => {
    const answered = runCommitterCase(given).calls.map((decided) =>
      decided.map(({ round, offset, status, by, block }) =>
        [`${round}:${offset}`, status, ...(block === undefined ? [] : [block]), by].join(" "),
      ),
    );
    expect(answered).toEqual(expectedCalls(index));
  },
);

test("there are the cases that the file is known to hold", () => {
  expect(FILE.cases.length).toBe(84);
  expect(FILE.blockManager.length).toBe(8);
  expect(FILE.linearizer.length).toBe(2);
});

describe("linearizer cases", () => {
  test.each(FILE.linearizer.map((given, index) => [given.name, given, index] as const))(
    "%s",
    (_name, given, index) => {
      const { counts, commits } = runLinearizerCase(given);
      const expected = EXPECTED.linearizer[index];
      expect(counts).toEqual(expected?.expectedCounts);
      for (const [commit, { ids, minRound }] of Object.entries(expected?.mustContain ?? {})) {
        const held = commits[Number(commit)] ?? [];
        expect(held).toEqual(expect.arrayContaining([...(ids ?? [])]));
        const lowest = Math.min(...held.map((id) => Number(id.slice(1))));
        expect(lowest).toBeGreaterThanOrEqual(minRound ?? 0);
      }
    },
  );
});

test.each(FILE.thresholdClock.map((given, index) => [given.name, given, index] as const))(
  "threshold clock case %s",
  (_name, given, index) => {
    expect(runClockCase(given).steps).toEqual(EXPECTED.thresholdClock[index]?.steps);
  },
);

test.each(FILE.scoring.map((given, index) => [given.name, given, index] as const))(
  "leader scores case %s",
  (_name, given, index) => {
    expect(runScoringCase(given).scores).toEqual(EXPECTED.scoring[index]?.expectedScores);
  },
);

test.each(FILE.blockManager.map((given, index) => [given.name, given, index] as const))(
  "block manager case %s",
  (_name, given, index) => {
    const { steps } = runManagerCase(given);
    EXPECTED.blockManager[index]?.steps.forEach((expected, i) => {
      const answered = steps[i];
      if (expected.accepted) expect(sorted(answered?.accepted)).toEqual(sorted(expected.accepted));
      if (expected.missing) expect(sorted(answered?.missing)).toEqual(sorted(expected.missing));
      if (!expected.state) return;
      expect(sorted(answered?.state.suspended)).toEqual(sorted(expected.state.suspended));
      expect(sorted(answered?.state.missing)).toEqual(sorted(expected.state.missing));
    });
  },
);

function sorted(ids: readonly string[] | undefined): readonly string[] {
  return [...(ids ?? [])].sort();
}
