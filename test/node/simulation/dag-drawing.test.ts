/** The drawing is well-formed and says of every slot how it is decided and why. */
import { describe, expect, test } from "vitest";
import { drawDag } from "../../../node/simulation/dag-drawing.ts";
import { viewDag } from "../../../node/simulation/dag-view.ts";
import { parseFaults } from "../../../node/simulation/faults.ts";
import { runWorld } from "../../../node/simulation/simulate.ts";

function draw(seed: number, faults: string): { svg: string; view: ReturnType<typeof viewDag> } {
  const { world, plan } = runWorld({
    seed,
    validators: 4,
    rounds: 60,
    faults: parseFaults(faults),
    keepsBlocksOf: "first",
  });
  const { committee, parameters } = world.setting;
  const options = { committee, parameters, blocks: [...world.keptBlocks.values()] };
  const svg = drawDag({
    ...options,
    viewer: world.viewer ?? 0,
    faulty: plan.faulty,
    fromRound: 1,
    toRound: view(options).dag.highestRound,
    note: `<seed ${seed}> & "more"`,
  });
  return { svg, view: view(options) };
}

const view = viewDag;

/** @throws if an element is not closed, or text holds a bare < or & */
function checkWellFormed(svg: string): void {
  const open: string[] = [];
  for (const [, text = "", close, name = "", empty] of svg.matchAll(
    /([^<]*)<(\/?)([a-z]+)(?: [a-z0-9-]+="[^"<]*")*\s*(\/?)>/gi,
  )) {
    if (/&(?!(amp|lt|gt|quot);)/.test(text)) throw new Error(`bare & in ${text}`);
    if (close === "/") {
      if (open.pop() !== name) throw new Error(`</${name}> closes nothing`);
    } else if (empty !== "/") open.push(name);
  }
  if (open.length > 0) throw new Error(`${open.join(", ")} never closed`);
}

describe.each([
  [1, "none"],
  [2, "twins"],
  [1, "split"],
  [3, "silent,loss"],
])("the drawing of seed %i with %s", (seed, faults) => {
  const drawn = draw(seed, faults);

  test("is well-formed", () => {
    expect(() => {
      checkWellFormed(drawn.svg);
    }).not.toThrow();
    const tags = drawn.svg.match(/<[a-z]/g)?.length ?? 0;
    const parsed = drawn.svg.match(/<[a-z]+(?: [a-z0-9-]+="[^"<]*")*\s*\/?>/gi)?.length ?? 0;
    expect(parsed).toBe(tags);
  });

  test("says of each slot what it is decided by", () => {
    const words = {
      "commit direct": "a quorum certifies it",
      "skip direct": "a quorum is against it",
      "commit indirect": /anchor [A-D]\d+ knows one/,
      "skip indirect": /anchor [A-D]\d+ knows none/,
    } as const;
    const slots = Array.from({ length: 60 }, (_, i) => drawn.view.slotsOf(i + 1)).flat();
    for (const { status, by } of slots) {
      if (status === "undecided" || by === undefined) continue;
      expect(drawn.svg).toMatch(words[`${status} ${by}`]);
    }
    expect(drawn.svg).toContain("no quorum, no anchor yet"); // the last rounds
  });

  test("tells who points at a block what it votes for and certifies", () => {
    expect(drawn.svg).toMatch(/<title>[A-D]5 refers to [^<]*\nvotes for [^<]*/);
    expect(drawn.svg).toMatch(/\ncertifies [A-D]\d+/);
  });
});

test("skipped slots and slots decided by an anchor are among them", () => {
  const slots = [draw(2, "twins"), draw(1, "split"), draw(3, "silent,loss")].flatMap(({ view }) =>
    Array.from({ length: 60 }, (_, i) => view.slotsOf(i + 1)).flat(),
  );
  const kinds = new Set(slots.map(({ status, by }) => `${status} ${by ?? ""}`));
  expect(kinds).toContain("skip direct");
  expect(kinds).toContain("commit direct");
  expect([...kinds].some((kind) => kind.endsWith("indirect"))).toBe(true);
});
