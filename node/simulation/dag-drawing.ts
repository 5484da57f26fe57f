/**
 * A picture of the DAG as one validator has it, and of why each leader slot is decided as it is: rounds from left to
 * right, a row for each validator. Coloured lines are votes for a leader, dots over a block are the certificates that it
 * is, and under each round stands what was counted.
 */
import { present } from "../../base/errors.ts";
import { drawing, element, escape, GRID, heading, INK, MUTED, text } from "../../base/svg.ts";
import {
  type AuthorityIndex,
  authorName,
  refName,
  type Round,
} from "../../protocol/consensus/block.ts";
import type { Vertex } from "../../protocol/consensus/dag-state.ts";
import { type DagViewOptions, type DagView, type SlotView, viewDag } from "./dag-view.ts";

export interface DagDrawingOptions extends DagViewOptions {
  /** Whose view it is. */
  readonly viewer: AuthorityIndex;
  /** Who breaks the rules, and how. */
  readonly faulty: ReadonlyMap<AuthorityIndex, string>;
  /** Drawn from here to there, both included. */
  readonly fromRound: Round;
  readonly toRound: Round;
  /** A line for people under the title. */
  readonly note: string;
}

const COLORS = {
  direct: "#009e73",
  indirect: "#56b4e9",
  skip: "#d55e00",
  undecided: "#e69f00",
} as const;

const COLUMN = 134;
const ROW_MIN = 44;
const LEFT = 92;
const TOP = 144;
const BLOCK_WIDTH = 44;
const BLOCK_HEIGHT = 18;
/** From one twin down to the next. */
const TWIN_STEP = 28;
const LINE = 14; // pixels between two lines of text
/** Under a round, for each of its slots: how it is decided, what was counted, why. */
const SLOT_LINES = 4;

type Point = readonly [x: number, y: number];

export function drawDag(options: DagDrawingOptions): string {
  const { committee, fromRound, toRound, viewer, note } = options;
  const view = viewDag(options);
  const rounds = Array.from({ length: toRound - fromRound + 1 }, (_, i) => fromRound + i);
  const slots = rounds.flatMap((round) => view.slotsOf(round));
  const canvas = new Canvas(options, view);
  const drawn = rounds.flatMap((round) => view.dag.at(round));
  const tallest = Math.max(1, ...rounds.map((round) => view.slotsOf(round).length));
  const width = LEFT + rounds.length * COLUMN + 24;
  const height = canvas.bottom + 34 + tallest * (SLOT_LINES + 0.5) * LINE;
  return drawing(
    width,
    height,
    heading(
      `Rounds ${fromRound} to ${toRound} as ${authorName(viewer)} has them`,
      `${note}; a quorum is ${committee.quorum} of ${committee.totalStake}`,
    ),
    ...legend(),
    ...canvas.rows(width),
    ...drawn.flatMap((block) => canvas.references(block, slots)),
    ...drawn.flatMap((block) => canvas.votes(block, slots)),
    ...slots.flatMap((slot) => canvas.missingLeader(slot)),
    ...drawn.map((block) => canvas.block(block, slots)),
    ...drawn.flatMap((block) => canvas.certificates(block, slots)),
    ...rounds.flatMap((round) => canvas.counts(round)),
  );
}

class Canvas {
  /** Under the last row. */
  readonly bottom: number;
  private readonly options: DagDrawingOptions;
  private readonly view: DagView;
  /** By author: the middle of its row, which is as high as its twins need. */
  private readonly middles: readonly number[];

  constructor(options: DagDrawingOptions, view: DagView) {
    this.options = options;
    this.view = view;
    const { committee, fromRound, toRound } = options;
    let bottom = TOP - ROW_MIN / 2;
    this.middles = Array.from({ length: committee.size }, (_, author) => {
      let twins = 1;
      for (let round = fromRound; round <= toRound; round++) {
        twins = Math.max(twins, view.dag.blocksOf(round, author).length);
      }
      const height = ROW_MIN + (twins - 1) * TWIN_STEP;
      bottom += height;
      return bottom - height / 2;
    });
    this.bottom = bottom;
  }

  rows(width: number): string[] {
    const { committee, faulty } = this.options;
    return Array.from({ length: committee.size }, (_, author) => {
      const [, y] = this.cell(this.options.fromRound, author);
      const fault = faulty.get(author);
      return [
        element("line", { x1: LEFT - 14, x2: width - 20, y1: y, y2: y, stroke: GRID }),
        text(20, y + 4, authorName(author), { bold: true }),
        text(36, y + 4, fault ?? "", { size: 10, fill: COLORS.skip }),
      ].join("");
    });
  }

  /** Grey lines to what a block refers to; dashed over more than one round. */
  references(block: Vertex, slots: readonly SlotView[]): string[] {
    return block.parents.flatMap((parent) => {
      const isVote = slots.some((slot) => slot.block === parent && this.view.isVote(block, slot));
      if (parent.round < this.options.fromRound || isVote) return [];
      return [this.line(block, parent, "#c3cbd5", 0.8)];
    });
  }

  votes(block: Vertex, slots: readonly SlotView[]): string[] {
    return slots.flatMap((slot) => {
      const isVote = slot.round === block.round - 1 && this.view.isVote(block, slot);
      if (slot.block === undefined || !isVote) return [];
      return [this.line(block, slot.block, colorOf(slot), 2)];
    });
  }

  /** A leader of whom there is no block here. */
  missingLeader(slot: SlotView): string[] {
    if (slot.block !== undefined) return [];
    return [
      this.box(this.cell(slot.round, slot.leader), {
        fill: "none",
        stroke: colorOf(slot),
        dashes: "3 3",
      }),
    ];
  }

  block(block: Vertex, slots: readonly SlotView[]): string {
    const slot = slots.find((each) => each.round === block.round && each.leader === block.author);
    const isChosen = slot?.block === block;
    const at = this.place(block);
    const box = this.box(at, {
      fill: isChosen ? colorOf(slot) : "#ffffff",
      stroke: slot === undefined ? MUTED : colorOf(slot),
      dashes: isChosen && slot.isWaiting ? "3 2" : undefined,
    });
    const style = { size: 10, anchor: "middle", fill: isChosen ? "#ffffff" : INK } as const;
    const name = text(at[0], at[1] + 3.5, refName(block), { ...style, bold: isChosen });
    return element("g", {}, element("title", {}, escape(this.story(block, slots))), box, name);
  }

  /** What a reader is told who points at a block. */
  private story(block: Vertex, slots: readonly SlotView[]): string {
    const votes = slots.filter(
      (slot) => slot.round === block.round - 1 && this.view.isVote(block, slot),
    );
    const certified = slots.filter((slot) => this.view.isCertificate(block, slot));
    return [
      `${refName(block)} refers to ${block.parents.map(refName).join(", ")}`,
      ...(votes.length === 0 ? [] : [`votes for ${votes.map(slotName).join(", ")}`]),
      ...(certified.length === 0 ? [] : [`certifies ${certified.map(slotName).join(", ")}`]),
    ].join("\n");
  }

  /** A dot over the block for each slot that it certifies. */
  certificates(block: Vertex, slots: readonly SlotView[]): string[] {
    const [x, y] = this.place(block);
    return slots
      .filter((slot) => this.view.isCertificate(block, slot))
      .map((slot) =>
        element("circle", {
          cx: x - BLOCK_WIDTH / 2 + 6 + 9 * slot.offset,
          cy: y - BLOCK_HEIGHT / 2 - 4,
          r: 3,
          fill: colorOf(slot),
        }),
      );
  }

  /** Under a round: of each of its slots, how it is decided and why. */
  counts(round: Round): string[] {
    const [x] = this.cell(round, 0);
    const top = this.bottom + 12;
    return this.view.slotsOf(round).flatMap((slot, i) => {
      const y = top + i * (SLOT_LINES + 0.5) * LINE;
      const style = { size: 10, anchor: "middle", fill: MUTED } as const;
      const { certificates } = slot;
      return [
        text(x, y, `${slotName(slot)} ${wordsOf(slot)}`, {
          ...style,
          fill: colorOf(slot),
          bold: true,
        }),
        text(x, y + LINE, `${slot.votes} for, ${slot.blames} against`, style),
        text(x, y + 2 * LINE, `${certificates} certif${certificates === 1 ? "ies" : "y"}`, style),
        text(x, y + 3 * LINE, reasonOf(slot), { ...style, fill: INK }),
      ];
    });
  }

  private line(from: Vertex, to: Vertex, stroke: string, width: number): string {
    const [x1, y1] = this.place(from);
    const [x2, y2] = this.place(to);
    return element("line", {
      x1: x1 - BLOCK_WIDTH / 2,
      y1,
      x2: x2 + BLOCK_WIDTH / 2,
      y2,
      stroke,
      "stroke-width": width,
      "stroke-dasharray": from.round - to.round > 1 ? "4 3" : undefined,
    });
  }

  private box(
    [x, y]: Point,
    style: { readonly fill: string; readonly stroke: string; readonly dashes: string | undefined },
  ): string {
    return element("rect", {
      x: x - BLOCK_WIDTH / 2,
      y: y - BLOCK_HEIGHT / 2,
      width: BLOCK_WIDTH,
      height: BLOCK_HEIGHT,
      rx: 5,
      fill: style.fill,
      stroke: style.stroke,
      "stroke-width": 1.5,
      "stroke-dasharray": style.dashes,
    });
  }

  /** Middle of a block: twins stand one above the other. */
  private place(block: Vertex): Point {
    const [x, y] = this.cell(block.round, block.author);
    const twins = this.view.dag.blocksOf(block.round, block.author);
    const shift = twins.indexOf(block) - (twins.length - 1) / 2;
    return [x, y + shift * TWIN_STEP];
  }

  private cell(round: Round, author: AuthorityIndex): Point {
    const middle = present(this.middles[author], "a row for each author");
    return [LEFT + (round - this.options.fromRound + 0.5) * COLUMN, middle];
  }
}

function colorOf({ status, by }: Pick<SlotView, "status" | "by">): string {
  if (status === "commit") return by === "indirect" ? COLORS.indirect : COLORS.direct;
  return COLORS[status];
}

function wordsOf({ status, by, isWaiting }: SlotView): string {
  const words = { commit: "committed", skip: "skipped", undecided: "undecided" }[status];
  const how = by === "indirect" ? " by anchor" : "";
  return isWaiting ? `${words}, waits` : `${words}${how}`;
}

/** By which rule a slot is decided, or what it lacks. */
function reasonOf({ status, by, anchor }: SlotView): string {
  if (by === "direct") {
    return status === "commit" ? "a quorum certifies it" : "a quorum is against it";
  }
  if (anchor === undefined) return "no quorum, no anchor yet";
  if (!anchor.isCommitted) return `anchor ${slotName(anchor)} undecided`;
  return `anchor ${slotName(anchor)} knows ${status === "commit" ? "one" : "none"}`;
}

/** As its leader's block is named. */
function slotName({
  leader,
  round,
}: {
  readonly leader: AuthorityIndex;
  readonly round: Round;
}): string {
  return refName({ author: leader, round });
}

function legend(): string[] {
  const entries = [
    [COLORS.direct, "committed directly"],
    [COLORS.indirect, "committed by an anchor"],
    [COLORS.skip, "skipped"],
    [COLORS.undecided, "undecided"],
  ] as const;
  const boxes = entries.map(
    ([fill, words], i) =>
      element("rect", { x: 24 + i * 170, y: 70, width: 14, height: 12, rx: 3, fill }) +
      text(44 + i * 170, 80, words, { size: 11 }),
  );
  const rest = [
    "coloured line: a vote for a leader · dot over a block: it holds a quorum of votes and certifies the leader two rounds before · dashed: decided, but a slot before it is not; empty: no block here",
    "committed or skipped: a quorum of the round after next certifies it, or of the next is against it; else by its anchor, the first later slot that is not skipped, as it knows a certificate or none",
  ];
  return [
    ...boxes,
    ...rest.map((line, i) => text(24, 100 + i * 15, line, { size: 11, fill: MUTED })),
  ];
}
