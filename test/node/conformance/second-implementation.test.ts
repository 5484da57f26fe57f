import { describe, expect, test } from "vitest";
import { type CaseFile, parseCaseFile } from "../../../node/conformance/case-file.ts";
import { answerCases } from "../../../node/conformance/mysticeti.ts";
import { type Rng, seededRng } from "../../../tokenizers/random.ts";
import { type HandBlock, MysticetiByHand } from "../../support/mysticeti-by-hand.ts";

/** A longer search: SOMA_DIFFERENTIAL_CASES=20000. */
const CASES = Number(process.env["SOMA_DIFFERENTIAL_CASES"] ?? 240);

interface Setting {
  readonly authorities: number;
  readonly stakes: readonly number[];
  readonly waveLength: number;
  readonly leadersPerRound: number;
  readonly pipeline: boolean;
  readonly table: Readonly<Record<string, readonly number[]>> | undefined;
  readonly blocks: readonly HandBlock[];
}

function drawnSetting(rng: Rng): Setting {
  const authorities = 1 + rng.uniform(7);
  const isWeighted = rng.uniform(2) === 1;
  const stakes = Array.from({ length: authorities }, () => (isWeighted ? 1 + rng.uniform(5) : 1));
  const waveLength = 3 + rng.uniform(3);
  const roundCount = waveLength + 2 + rng.uniform(2 * waveLength);
  const leadersPerRound = 1 + rng.uniform(authorities);
  const hasTable = rng.uniform(2) === 1;
  const table = Object.fromEntries(
    Array.from({ length: roundCount }, (_, i) => i + 1)
      .filter(() => rng.uniform(3) > 0)
      .map((round) => [String(round), [...rng.sample(authorities, leadersPerRound)]]),
  );
  return {
    authorities,
    stakes,
    waveLength,
    leadersPerRound,
    pipeline: rng.uniform(3) > 0,
    table: hasTable ? table : undefined,
    blocks: drawnBlocks({ authorities, stakes, roundCount }, rng),
  };
}

/** Blocks that refer to most of the round before, to some of older rounds, in any order; of some authors several. */
function drawnBlocks(
  size: {
    readonly authorities: number;
    readonly stakes: readonly number[];
    readonly roundCount: number;
  },
  rng: Rng,
): readonly HandBlock[] {
  const { authorities, stakes, roundCount } = size;
  const letter = (author: number): string => String.fromCharCode(65 + author);
  const [density, presence] = [0.5 + rng.unit() / 2, 0.7 + 0.3 * rng.unit()];
  const total = stakes.reduce((sum, stake) => sum + stake, 0);
  // Mostly as many twins as the rules bear; now and then more.
  let twinStake = rng.uniform(4) === 0 ? total : Math.floor((total - 1) / 3);
  const hasTwins = [...rng.sample(authorities, authorities)].filter((author) => {
    const stake = stakes[author] ?? 0;
    if (stake > twinStake) return false;
    twinStake -= stake;
    return true;
  });
  const blocks: HandBlock[] = [];
  let before = stakes.map((_, author) => `${letter(author)}0`);
  let older: readonly string[] = [];
  for (let round = 1; round <= roundCount; round++) {
    const made: string[] = [];
    for (let author = 0; author < authorities; author++) {
      if (rng.unit() >= presence) continue;
      const count = hasTwins.includes(author) ? 1 + rng.uniform(3) : 1;
      for (let twin = 0; twin < count; twin++) {
        const id = `${letter(author)}${round}${twin === 0 ? "" : `.${twin}`}`;
        const parents = [...rng.sample(before.length, before.length)]
          .map((i) => before[i] ?? "")
          .filter(() => rng.unit() < density);
        if (older.length > 0 && rng.uniform(3) === 0) {
          parents.splice(
            rng.uniform(parents.length + 1),
            0,
            older[rng.uniform(older.length)] ?? "",
          );
        }
        blocks.push({ id, author, round, parents });
        made.push(id);
      }
    }
    older = [...older, ...before].slice(-8);
    before = made;
  }
  return blocks;
}

/** What the program answers, from the text of a file on. */
function answered(setting: Setting): readonly (readonly string[])[] {
  const { table, blocks, ...rest } = setting;
  const document = {
    cases: [
      {
        ...rest,
        name: "drawn",
        leaderRule: table === undefined ? { kind: "round-robin" } : { kind: "table", table },
        blocks,
        calls: prefixes(blocks).map((accept) => ({ accept, lastDecided: null })),
      },
    ],
  };
  const file: CaseFile = parseCaseFile(JSON.parse(JSON.stringify(document)), "drawn.json");
  const [answer] = answerCases(file).cases;
  return (answer?.calls ?? []).map((decided) =>
    decided.map(({ round, offset, status, by, block }) =>
      [`${round}:${offset}`, status, ...(block === undefined ? [] : [block]), by].join(" "),
    ),
  );
}

function byHand(setting: Setting): readonly (readonly string[])[] {
  const { authorities, stakes, waveLength, pipeline, leadersPerRound, table, blocks } = setting;
  const leaders = (round: number): readonly number[] =>
    table?.[String(round)] ??
    Array.from({ length: leadersPerRound }, (_, offset) => (round + offset) % authorities);
  const rules = { stakes, waveLength, pipeline, leaders };
  return prefixes(blocks).map((accept) =>
    new MysticetiByHand(blocks.slice(0, accept), rules).sequence(),
  );
}

/** The whole, and a view of two thirds. */
function prefixes(blocks: readonly HandBlock[]): readonly number[] {
  return [Math.floor((2 * blocks.length) / 3), blocks.length];
}

describe("a second implementation, from the paper's definitions, decides alike", () => {
  const rng = seededRng(1, "second-implementation");
  const settings = Array.from({ length: CASES }, () => drawnSetting(rng));

  test.each([3, 4, 5])("waves of %i", { timeout: 20_000 + 50 * CASES }, (waveLength) => {
    const ours = settings.filter((setting) => setting.waveLength === waveLength);
    const seen = new Set<string>();
    for (const setting of ours) {
      const expected = byHand(setting);
      expect(answered(setting), JSON.stringify(setting)).toEqual(expected);
      for (const line of expected.flat()) {
        const [, status = "", block = "", by = block] = line.split(" ");
        seen.add(`${status} ${by}`);
      }
    }
    expect([...seen].sort()).toEqual([
      "commit direct",
      "commit indirect",
      "skip direct",
      "skip indirect",
    ]);
  });

  test("on settings of every kind", () => {
    expect(new Set(settings.map(({ leadersPerRound }) => leadersPerRound)).size).toBe(7);
    expect(settings.some(({ stakes }) => new Set(stakes).size > 1)).toBe(true);
    expect(settings.some(({ pipeline }) => !pipeline)).toBe(true);
    expect(settings.some(({ table }) => table !== undefined)).toBe(true);
    expect(settings.some(({ blocks }) => blocks.some(({ id }) => id.endsWith(".2")))).toBe(true);
  });
});
