/**
 * Drawn DAGs in text, and what is decided on them. A file of test/scripts/dag reads:
 *
 *   What the drawing shows: lines until the first blank one.
 *
 *   validators 4                     A, B, C, D; "stakes 4 1 1 1" gives them weight
 *   leaders 1 of every round         or "of every third round"; slot o of round r is led by (r + o) mod n
 *   gc 60                            rounds below a committed leader that are no longer ordered; none without it
 *   1: A B C D                       blocks of round 1, each referring to all blocks of round 0
 *   2: A B(* -C) C(A1 B1) D D.1(A1)  "*" is all of the round before, "-C" without C's; D.1 is D's twin
 *   3..5: A B C                      the same in three rounds
 *
 *   decided
 *   …                                what `decisionsOf` says: every slot with its votes and certificates, every commit
 *
 * Of twins "*" means the first.
 */
import { assert, present } from "../../base/errors.ts";
import {
  drawnCommittee,
  DrawnDag,
  type Drawing,
  drawnSchedule,
} from "../../node/conformance/drawn-dag.ts";
import {
  BaseCommitter,
  type CommitterOptions,
  type Decision,
} from "../../protocol/consensus/base-committer.ts";
import type { Slot } from "../../protocol/consensus/block.ts";
import { Committer } from "../../protocol/consensus/committer.ts";
import { DagState, type Vertex } from "../../protocol/consensus/dag-state.ts";
import { Linearizer } from "../../protocol/consensus/linearizer.ts";

export interface DagScript {
  readonly validators: number;
  readonly stakes: readonly number[] | undefined;
  readonly leadersPerRound: number;
  readonly pipelined: boolean;
  readonly gcDepth: number;
  readonly blocks: readonly Drawing[];
  /** The lines after "decided". */
  readonly expected: string;
}

export function parseDagScript(text: string): DagScript {
  const blank = text.indexOf("\n\n");
  const [drawing = "", expected = ""] = text.slice(blank + 2).split(/^decided\n/m);
  let script: DagScript = {
    validators: 4,
    stakes: undefined,
    leadersPerRound: 1,
    pipelined: true,
    gcDepth: Infinity,
    blocks: [],
    expected,
  };
  const rounds = new RoundsReader();
  for (const line of drawing.split("\n")) {
    const [word = "", ...rest] = line.trim().split(/\s+/);
    if (word === "validators") script = { ...script, validators: Number(rest[0]) };
    else if (word === "stakes") script = { ...script, stakes: rest.map(Number) };
    else if (word === "gc") script = { ...script, gcDepth: Number(rest[0]) };
    else if (word === "leaders") {
      const pipelined = rest.join(" ").endsWith("every round");
      script = { ...script, leadersPerRound: Number(rest[0]), pipelined };
    } else if (word !== "") rounds.read(line, script.validators);
  }
  return { ...script, blocks: rounds.blocks };
}

class RoundsReader {
  readonly blocks: Drawing[] = [];
  /** First block of each author in the round before. */
  private before: readonly string[] = [];

  read(line: string, validators: number): void {
    if (this.blocks.length === 0) this.before = this.genesis(validators);
    const match = /^(\d+)(?:\.\.(\d+))?:(.*)$/.exec(line.trim());
    assert(match !== null, `not a line of a drawing: ${line}`);
    const [, first = "", last = first, body = ""] = match;
    for (let round = Number(first); round <= Number(last); round++) this.round(round, body);
  }

  private round(round: number, body: string): void {
    const here: string[] = [];
    for (const [, name = "", , parents = "*"] of body.matchAll(
      /([A-Z](\.\d+)?)(?:\(([^)]*)\))?/g,
    )) {
      const [letter = "", twin] = name.split(".");
      const id = twin === undefined ? `${letter}${round}` : `${letter}${round}.${twin}`;
      this.blocks.push({ id, parents: this.parents(parents) });
      if (!here.some((each) => each.startsWith(letter))) here.push(id);
    }
    this.before = here;
  }

  private parents(text: string): readonly string[] {
    const words = text.split(/\s+/).filter((word) => word !== "");
    const left = new Set(words.flatMap((word) => (word.startsWith("-") ? [word.slice(1)] : [])));
    return words.flatMap((word) => {
      if (word.startsWith("-")) return [];
      return word === "*" ? this.before.filter((id) => !left.has(id.charAt(0))) : [word];
    });
  }

  private genesis(validators: number): readonly string[] {
    return Array.from(
      { length: validators },
      (_, author) => `${String.fromCharCode(65 + author)}0`,
    );
  }
}

/** Every slot that can be looked at, with its votes and certificates and what becomes of it; then the commits. */
export function decisionsOf(script: DagScript): string {
  const { validators, stakes, leadersPerRound, pipelined } = script;
  const committee = drawnCommittee(validators, stakes);
  const drawn = new DrawnDag(committee, script.blocks);
  const dag = new DagState(committee);
  for (const { id } of script.blocks) drawn.addTo(dag, id);
  const schedule = drawnSchedule({ kind: "round-robin" }, validators, leadersPerRound);
  const options = {
    dag,
    committee,
    schedule,
    waveLength: 3,
    leadersPerRound,
    pipelined,
    stopsOnFaults: true,
  };
  const committer = new Committer(options);
  const linearizer = new Linearizer(committee, script.gcDepth);
  const decided = committer.decide(undefined);
  const slots = slotsOf(committer, dag.highestRound - 2).map((slot) =>
    describeSlot(slot, decided, options, (vertex) => drawn.nameOf(vertex)),
  );
  const commits = decided.flatMap((decision) => {
    if (decision.status !== "commit") return [];
    const { commit, vertices } = linearizer.commit(decision.leader);
    return [`commit ${commit.index}: ${vertices.map((each) => drawn.nameOf(each)).join(" ")}`];
  });
  return [...slots, ...commits, ""].join("\n");
}

function slotsOf(committer: Committer, highest: number): readonly Slot[] {
  const slots: Slot[] = [];
  for (let slot = committer.slotAfter(undefined); slot.round <= highest;) {
    slots.push(slot);
    slot = committer.slotAfter(slot);
  }
  return slots;
}

function describeSlot(
  slot: Slot,
  decided: readonly Decision[],
  options: CommitterOptions,
  nameOf: (vertex: Vertex) => string,
): string {
  const base = new BaseCommitter(options);
  const leader = base.leaderOf(slot);
  const names = (vertices: readonly Vertex[]): string =>
    vertices.length === 0 ? "none" : vertices.map(nameOf).join(" ");
  const candidates = options.dag.blocksOf(slot.round, leader).map((candidate) => {
    const votes = options.dag
      .at(slot.round + 1)
      .filter((voter) => base.supportedBy(voter, slot) === candidate);
    const certificates = options.dag
      .at(base.decisionRound(slot.round))
      .filter((block) => base.certifiedBy(block, slot).includes(candidate));
    return `${nameOf(candidate)} votes: ${names(votes)}, certificates: ${names(certificates)}`;
  });
  const decision = decided.find(
    ({ round, offset }) => round === slot.round && offset === slot.offset,
  );
  const outcome =
    decision === undefined
      ? "undecided, or after one that is"
      : `${decision.status} ${decision.status === "commit" ? `${nameOf(decision.leader)} ` : ""}${decision.by}`;
  const letter = present("ABCDEFGHIJKLMNOPQRSTUVWXYZ"[leader], "a letter");
  const seen = candidates.length === 0 ? "no block" : candidates.join("; ");
  return `${slot.round}:${slot.offset} by ${letter}: ${outcome} (${seen})`;
}
