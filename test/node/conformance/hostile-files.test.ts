import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { SomaError } from "../../../base/errors.ts";
import { parseCaseFile } from "../../../node/conformance/case-file.ts";
import { type Answers, answerCases, readCaseFile } from "../../../node/conformance/mysticeti.ts";

const LETTERS = ["A", "B", "C", "D"];

/** Rounds 1 … roundCount in which everybody refers to everybody. */
function fullRounds(roundCount: number): { id: string; parents: string[] }[] {
  return Array.from({ length: roundCount }, (_, i) =>
    LETTERS.map((letter) => ({
      id: `${letter}${i + 1}`,
      parents: LETTERS.map((parent) => `${parent}${i}`),
    })),
  ).flat();
}

const blocks = fullRounds(5);

const committer = {
  name: "mine",
  authorities: 4,
  waveLength: 3,
  leadersPerRound: 1,
  pipeline: true,
  leaderRule: { kind: "round-robin" },
  blocks,
  calls: [{ accept: 20, lastDecided: null }],
};
const linearizer = { name: "mine", authorities: 4, gcDepth: null, blocks, leaders: ["A3", "B4"] };
const manager = { name: "mine", authorities: 4, blocks, steps: [{ op: "accept", ids: ["A1"] }] };
const clock = { name: "mine", authorities: 4, startRound: 1, steps: [[1, 0]] };
const validity = {
  name: "mine",
  context: { authorities: 4, epoch: 0 },
  block: {
    epoch: 0,
    round: 1,
    author: 0,
    signedBy: 0,
    ancestors: ["A0", "B0", "C0"],
  },
};

function answer(document: unknown): Answers {
  return answerCases(parseCaseFile(JSON.parse(JSON.stringify(document)), "file.json"));
}

function refusal(document: unknown): SomaError {
  try {
    answer(document);
  } catch (error) {
    if (error instanceof SomaError) return error;
    throw error;
  }
  throw new Error("it was answered");
}

test("the cases that are spoilt below are answered when they are whole", () => {
  const answers = answer({
    cases: [committer],
    linearizer: [linearizer],
    scoring: [linearizer],
    thresholdClock: [clock],
    blockManager: [manager],
    blockValidity: [validity],
  });
  expect(answers.cases[0]?.calls[0]?.map(({ status }) => status)).toEqual([
    "commit",
    "commit",
    "commit",
  ]);
  expect(answers.blockValidity).toEqual([{ name: "mine", valid: true }]);
});

type Spoilt = readonly [title: string, document: unknown, places: readonly string[]];

/** Its third block with other parents. */
function withParents(parents: readonly string[], id = "C1"): unknown {
  return {
    cases: [{ ...committer, blocks: [...blocks.slice(0, 2), { id, parents }, ...blocks.slice(3)] }],
  };
}

function withCommitter(changes: object): unknown {
  return { cases: [{ ...committer, ...changes }] };
}

describe("the case and the field are named, exit code 2", () => {
  const spoilt: readonly Spoilt[] = [
    ["a list in place of the file", [], ["file.json", "expected object"]],
    ["a number in place of the file", 3, ["file.json"]],
    ["null in place of the file", null, ["file.json"]],
    ["no group of cases", { schema: {} }, ["no group of cases"]],
    ["a group that is no list", { cases: 7 }, ["file.json: cases"]],
    ["a case that is no object", { cases: [7] }, ["cases[0]"]],
    ["a case without a name", withCommitter({ name: undefined }), ["cases[0]", "name"]],
    ["no calls", withCommitter({ calls: undefined }), ['cases[0] "mine"', "calls"]],
    ["no blocks", withCommitter({ blocks: undefined }), ['cases[0] "mine"', "blocks"]],
    [
      "an unknown leader rule",
      withCommitter({ leaderRule: { kind: "lottery" } }),
      ["leaderRule.kind"],
    ],
    ["waves of 2", withCommitter({ waveLength: 2 }), ['"mine"', "waveLength", "3 or more"]],
    ["waves of a million", withCommitter({ waveLength: 1e6 }), ["waveLength"]],
    ["no leaders", withCommitter({ leadersPerRound: 0 }), ["leadersPerRound"]],
    ["more leaders than validators", withCommitter({ leadersPerRound: 5 }), ["leadersPerRound"]],
    ["half a leader", withCommitter({ leadersPerRound: 1.5 }), ["leadersPerRound"]],
    ["a stake of 0", withCommitter({ stakes: [1, 0, 1, 1] }), ['"mine"', "stakes.1"]],
    ["a negative stake", withCommitter({ stakes: [1, 1, 1, -1] }), ["stakes.3"]],
    ["a stake too few", withCommitter({ stakes: [1, 1, 1] }), ["stakes", "3 stakes for 4"]],
    ["more stake than exists", withCommitter({ stakes: [9e14, 9e14, 1, 1] }), ["stakes", "10^15"]],
    ["no validators", withCommitter({ authorities: 0 }), ["authorities"]],
    ["validators without letters", withCommitter({ authorities: 27 }), ["authorities"]],
    [
      "a leader that is none",
      withCommitter({ leaderRule: { kind: "table", table: { "3": [4] } } }),
      ["leaderRule.table.3", "leader 4"],
    ],
    [
      "one validator in two slots",
      withCommitter({ leadersPerRound: 2, leaderRule: { kind: "table", table: { "3": [0] } } }),
      ["leaderRule.table.3", "two slots"],
    ],
    [
      "leaders of no round",
      withCommitter({ leaderRule: { kind: "table", table: { three: [0] } } }),
      ["leaderRule.table.three", "no round"],
    ],
    [
      "more blocks accepted than there are",
      withCommitter({ calls: [{ accept: 21 }] }),
      ["calls.0.accept"],
    ],
    [
      "a last slot of no leader",
      withCommitter({ calls: [{ accept: 20, lastDecided: { round: 1, author: 3 } }] }),
      ['"mine"', "lastDecided", "round 1"],
    ],
    [
      "a last slot without a place",
      withCommitter({ calls: [{ accept: 20, lastDecided: { round: 1 } }] }),
      ["calls.0.lastDecided"],
    ],
    [
      "a last slot of a leader too many",
      withCommitter({ calls: [{ accept: 20, lastDecided: { round: 1, offset: 1 } }] }),
      ["calls.0.lastDecided.offset"],
    ],
    [
      "a last slot of a round without leaders",
      withCommitter({
        pipeline: false,
        calls: [{ accept: 20, lastDecided: { round: 4, offset: 0 } }],
      }),
      ["calls.0.lastDecided.round", "round 4"],
    ],
    [
      "a last round beyond all patience",
      withCommitter({ calls: [{ accept: 20, lastDecided: { round: 4e9, offset: 0 } }] }),
      ["calls.0.lastDecided.round"],
    ],
    ["an unknown parent", withParents(["A0", "C0.1"]), ["blocks.2.parents.1", "C0.1"]],
    ["a parent that is not drawn", withParents(["A1.1"], "C2"), ["blocks.2.parents.0", '"A1.1"']],
    ["a parent that comes later", withParents(["D1"], "C2"), ["blocks.2.parents.0", "comes after"]],
    ["a block that refers to itself", withParents(["C1"]), ["blocks.2.parents.0", "round before"]],
    [
      "blocks that refer to each other",
      withCommitter({
        blocks: [
          { id: "A1", parents: ["B2"] },
          { id: "B2", parents: ["A1"] },
        ],
        calls: [{ accept: 2 }],
      }),
      ["blocks.0.parents.0", '"B2"'],
    ],
    ["a parent by nobody", withParents(["E0"]), ["blocks.2.parents.0", '"E0"']],
    [
      "a parent without a name",
      withParents(["a nobody"]),
      ["blocks.2.parents.0", "names no block"],
    ],
    ["a block twice", withParents([], "B1"), ["blocks.2.id", "twice"]],
    ["one block under two names", withParents([], "C01"), ["blocks.2.id", "names no block"]],
    ["a genesis block", withParents([], "C0"), ["blocks.2.id", "genesis"]],
    ["a block of round 4 billion", withParents([], "C4000000000"), ["blocks.2.id", "100000"]],
    ["a block of a round past numbers", withParents([], "C99999999999"), ["blocks.2.id"]],
    [
      "an author that is not the name's",
      withCommitter({ blocks: [{ id: "A1", author: 1, round: 1, parents: [] }], calls: [] }),
      ["blocks.0.author", '"A1"'],
    ],
    [
      "a round that is not the name's",
      withCommitter({ blocks: [{ id: "A1", author: 0, round: 2, parents: [] }], calls: [] }),
      ["blocks.0.round", '"A1"'],
    ],
    [
      "a leader that is not drawn",
      { linearizer: [{ ...linearizer, leaders: ["A9"] }] },
      ['"mine"', "leaders.0", "A9"],
    ],
    [
      "a leader committed twice",
      { linearizer: [{ ...linearizer, leaders: ["A3", "A3"] }] },
      ['"mine"', "leaders", "A3", "already"],
    ],
    [
      "an unknown operation",
      { blockManager: [{ ...manager, steps: [{ op: "explode" }] }] },
      ['blockManager[0] "mine"', "steps.0.op"],
    ],
    [
      "a block that the manager cannot have",
      { blockManager: [{ ...manager, steps: [{ op: "accept", ids: ["A9"] }] }] },
      ["steps.0.ids.0", "A9"],
    ],
    [
      "a manager's blocks in a circle",
      {
        blockManager: [
          {
            ...manager,
            blocks: [
              { id: "A1", parents: ["B1"] },
              { id: "B1", parents: ["A1"] },
            ],
          },
        ],
      },
      ["blocks.0.parents.0"],
    ],
    [
      "a clock's author that is none",
      { thresholdClock: [{ ...clock, steps: [[1, 4]] }] },
      ['"mine"', "steps.0", "author 4"],
    ],
    ["a clock's step of one number", { thresholdClock: [{ ...clock, steps: [[1]] }] }, ["steps.0"]],
    [
      "a block rule's negative round",
      { blockValidity: [{ ...validity, block: { ...validity.block, round: -1 } }] },
      ['blockValidity[0] "mine"', "block.round"],
    ],
    [
      "an ancestor without a name",
      { blockValidity: [{ ...validity, block: { ...validity.block, ancestors: [""] } }] },
      ["block.ancestors.0"],
    ],
    [
      "a transaction of a gigabyte",
      { blockValidity: [{ ...validity, block: { ...validity.block, txBytes: [1e9] } }] },
      ["block.txBytes.0"],
    ],
    [
      "a group of block rules without a context",
      { blockValidity: { cases: [validity] } },
      ["blockValidity[0]", "context"],
    ],
    [
      "a case in a group of block rules",
      { blockValidity: [{ context: validity.context, cases: [{ name: "inner" }] }] },
      ['blockValidity[0].cases[0] "inner"', "block"],
    ],
  ];
  test.each(spoilt)("%s", (_title, document, places) => {
    const error = refusal(document);
    for (const place of places) expect(error.message).toContain(place);
    expect(error.exitCode).toBe(2);
    expect(error.next).toBeDefined();
  });
});

describe("what is valid and unusual is answered", () => {
  test("block rules count authors and rounds beyond every committee as the rules do", () => {
    const changed = (changes: object): unknown =>
      answer({ blockValidity: [{ ...validity, block: { ...validity.block, ...changes } }] })
        .blockValidity[0];
    expect(changed({ author: 65_535, signedBy: null })).toMatchObject({ reason: "author-index" });
    expect(changed({ ancestors: ["A0", "Z0", "C0"] })).toMatchObject({
      reason: "ancestor-author-index",
    });
    expect(changed({ txInvalid: true })).toMatchObject({ reason: "tx-invalid" });
  });

  test("keys that nobody knows, however deep, are not read", () => {
    const deep = `${"[".repeat(100_000)}${"]".repeat(100_000)}`;
    const known = JSON.stringify(committer).slice(1, -1);
    const text = `{"schema":${deep},"cases":[{"expected":${deep},${known}}]}`;
    const { cases } = answerCases(parseCaseFile(JSON.parse(text), "file.json"));
    expect(cases[0]?.calls[0]?.length).toBe(3);
  });

  test("a hundred thousand rounds with nothing in them end soon", () => {
    const far = [
      { id: "A1", parents: [] },
      { id: "B100000", parents: ["A1"] },
    ];
    const start = process.cpuUsage().user;
    const { cases } = answer(withCommitter({ blocks: far, calls: [{ accept: 2 }] }));
    expect(cases[0]?.calls).toEqual([[]]);
    expect(process.cpuUsage().user - start).toBeLessThan(10e6);
  });

  test("a slot with two blocks to commit, which a third of faults cannot make, stays undecided", () => {
    // A wave of 4. Two validators vote for B1 and two for its twin; then everybody signs twice, once for each.
    const everybody = (round: number, twin: string, parents: readonly string[]): object[] =>
      LETTERS.map((letter) => ({ id: `${letter}${round}${twin}`, parents }));
    const torn = [
      ...fullRounds(1),
      { id: "B1.1", parents: ["B0", "A0", "C0"] },
      { id: "A2", parents: ["A1", "B1", "C1", "D1"] },
      { id: "B2", parents: ["B1.1", "A1", "C1", "D1"] },
      { id: "C2", parents: ["C1", "B1", "A1", "D1"] },
      { id: "D2", parents: ["D1", "B1.1", "A1", "C1"] },
      ...everybody(3, "", ["A2", "B2", "C2", "D2"]),
      ...everybody(3, ".1", ["B2", "A2", "C2", "D2"]),
      ...everybody(4, "", ["A3", "B3", "C3", "D3"]),
      ...everybody(4, ".1", ["A3.1", "B3.1", "C3.1", "D3.1"]),
    ];
    const { cases } = answer({
      cases: [
        { ...committer, waveLength: 4, blocks: torn, calls: [{ accept: torn.length }] },
        committer,
      ],
    });
    expect(cases[0]?.calls).toEqual([[]]);
    expect(cases[1]?.calls[0]?.length).toBe(3);
  });
});

describe("a file", () => {
  const folder = mkdtempSync(join(tmpdir(), "soma-cases-"));
  afterAll(() => {
    rmSync(folder, { recursive: true });
  });

  test.each([
    ["that is not JSON", "{ cases: [", "NOT_JSON", 2],
    ["that is empty", "", "NOT_JSON", 2],
    ["of bytes that are no text", "\u0000\ufffd", "NOT_JSON", 2],
    ["that is cut off", JSON.stringify({ cases: [committer] }).slice(0, 100), "NOT_JSON", 2],
  ])("%s is told", async (_title, text, code, exitCode) => {
    const path = join(folder, "cases.json");
    writeFileSync(path, text);
    await expect(readCaseFile(path)).rejects.toMatchObject({ code, exitCode });
    await expect(readCaseFile(path)).rejects.toThrow(path);
  });

  test("that is not there, or a folder, is told", async () => {
    await expect(readCaseFile(join(folder, "none.json"))).rejects.toMatchObject({
      code: "NO_CASE_FILE",
      exitCode: 3,
    });
    await expect(readCaseFile(folder)).rejects.toMatchObject({ code: "NO_CASE_FILE" });
  });
});
