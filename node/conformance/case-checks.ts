/**
 * What must fit together in a case, once its form is right: names of blocks, parents before children, leaders and stakes
 * of the committee. A case that does not is refused by its name and the field: answering it would be answering another.
 */
import { SomaError } from "../../base/errors.ts";
import type {
  ClockCase,
  CommitterCase,
  DrawnBlock,
  LinearizerCase,
  ManagerCase,
  ValidityCase,
} from "./case-file.ts";
import { ROUNDS_MAX } from "./case-file.ts";
import { type BlockName, parseBlockName } from "./drawn-dag.ts";

/** Total stake that exists, in nano: what a committee may have. */
const STAKE_TOTAL_MAX = 1e15;

interface Named {
  readonly name: string;
}

interface Weighted extends Named {
  readonly authorities: number;
  readonly stakes?: readonly number[] | undefined;
}

interface Drawn extends Weighted {
  readonly blocks: readonly DrawnBlock[];
}

export function checkCommitterCase(given: CommitterCase): void {
  checkStakes(given);
  checkBlocks(given, { parentsAreDrawn: true });
  const { authorities, leadersPerRound, leaderRule, calls, blocks, waveLength, pipeline } = given;
  if (leadersPerRound > authorities) {
    throw bad(given, "leadersPerRound", `${leadersPerRound} leaders among ${authorities}`);
  }
  const table = leaderRule.kind === "table" ? leaderRule.table : {};
  for (const [round, row] of Object.entries(table)) checkLeaders(given, round, row);
  calls.forEach(({ accept, lastDecided }, i) => {
    if (accept > blocks.length) {
      throw bad(given, `calls.${i}.accept`, `${accept} of ${blocks.length} blocks`);
    }
    if (lastDecided == null || lastDecided.round === 0) return;
    const { round, author, offset } = lastDecided;
    const field = `calls.${i}.lastDecided`;
    if (!pipeline && round % waveLength !== 0) {
      throw bad(given, `${field}.round`, `round ${round} elects no leaders`);
    }
    if (offset === undefined && author === undefined) {
      throw bad(given, field, "names no slot: give an author or an offset");
    }
    if (offset !== undefined && offset >= leadersPerRound) {
      throw bad(given, `${field}.offset`, `${offset} of ${leadersPerRound} leaders`);
    }
  });
}

function checkLeaders(given: CommitterCase, round: string, row: readonly number[]): void {
  const { authorities, leadersPerRound } = given;
  const field = `leaderRule.table.${round}`;
  if (!/^\d{1,9}$/.test(round)) throw bad(given, field, "the key is no round");
  const leaders = Array.from(
    { length: leadersPerRound },
    (_, offset) => row[offset] ?? (Number(round) + offset) % authorities,
  );
  for (const leader of [...row, ...leaders]) {
    if (leader >= authorities) throw bad(given, field, `leader ${leader} of ${authorities}`);
  }
  if (new Set(leaders).size < leaders.length) {
    throw bad(given, field, `one validator leads two slots: ${leaders.join(", ")}`);
  }
}

export function checkLinearizerCase(given: LinearizerCase): void {
  checkStakes(given);
  checkBlocks(given, { parentsAreDrawn: true });
  const ids = new Set(given.blocks.map(({ id }) => id));
  given.leaders.forEach((id, i) => {
    if (!ids.has(id)) throw bad(given, `leaders.${i}`, `"${id}" is not among the blocks`);
  });
}

export function checkClockCase(given: ClockCase): void {
  checkStakes(given);
  given.steps.forEach(([, author = 0], i) => {
    if (author >= given.authorities) {
      throw bad(given, `steps.${i}`, `author ${author} of ${given.authorities}`);
    }
  });
}

export function checkManagerCase(given: ManagerCase): void {
  checkStakes(given);
  checkBlocks(given, { parentsAreDrawn: false }); // what is missing is what such a case is about
  const ids = new Set(given.blocks.map(({ id }) => id));
  given.steps.forEach((step, i) => {
    if (step.op === "gc") return;
    step.ids.forEach((id, k) => {
      const field = `steps.${i}.ids.${k}`;
      nameOf(given, field, id);
      if (step.op !== "find" && !ids.has(id)) {
        throw bad(given, field, `"${id}" is not among the blocks`);
      }
    });
  });
}

export function checkValidityCase(given: ValidityCase): void {
  const { context, block, name } = given;
  if (context !== undefined) checkStakes({ ...context, name });
  block.ancestors.forEach((id, i) => {
    nameIn(given, `block.ancestors.${i}`, id);
  });
}

function checkStakes(given: Weighted): void {
  const { authorities, stakes } = given;
  if (stakes === undefined) return;
  if (stakes.length !== authorities) {
    throw bad(given, "stakes", `${stakes.length} stakes for ${authorities} authorities`);
  }
  const total = stakes.reduce((sum, stake) => sum + stake, 0);
  if (total > STAKE_TOTAL_MAX) throw bad(given, "stakes", `${total} in all, at most 10^15`);
}

/** Every block after its parents, so that nothing refers to itself, however far round. */
function checkBlocks(
  given: Drawn,
  { parentsAreDrawn }: { readonly parentsAreDrawn: boolean },
): void {
  const { blocks } = given;
  const all = new Set(blocks.map(({ id }) => id));
  const before = new Set<string>();
  const places = new Set<string>(); // "B2" and "B2.0" name one block
  blocks.forEach((block, i) => {
    const field = `blocks.${i}`;
    const { author, round, twin } = nameOf(given, `${field}.id`, block.id);
    const position = `${author}/${round}/${twin}`;
    if (round < 1) throw bad(given, `${field}.id`, `"${block.id}" is genesis, which is there`);
    if (places.has(position)) throw bad(given, `${field}.id`, `"${block.id}" is there twice`);
    if (block.author !== undefined && block.author !== author) {
      throw bad(given, `${field}.author`, `${block.author}, where "${block.id}" is by ${author}`);
    }
    if (block.round !== undefined && block.round !== round) {
      throw bad(given, `${field}.round`, `${block.round}, where "${block.id}" is of ${round}`);
    }
    block.parents.forEach((parent, k) => {
      const place = `${field}.parents.${k}`;
      const named = nameOf(given, place, parent);
      if (named.round >= round) {
        throw bad(given, place, `"${parent}" is not of a round before "${block.id}"`);
      }
      if (named.round === 0 && named.twin > 0) {
        throw bad(given, place, `"${parent}": genesis has no twins`);
      }
      if (named.round === 0 || !parentsAreDrawn || before.has(parent)) return;
      throw bad(
        given,
        place,
        all.has(parent)
          ? `"${parent}" comes after "${block.id}", which refers to it`
          : `"${parent}" is not among the blocks`,
      );
    });
    before.add(block.id);
    places.add(position);
  });
}

/** A name of this committee. */
function nameOf(given: Weighted, field: string, id: string): BlockName {
  const name = nameIn(given, field, id);
  if (name.author >= given.authorities) {
    throw bad(given, field, `"${id}" is by none of ${given.authorities} authorities`);
  }
  return name;
}

function nameIn(given: Named, field: string, id: string): BlockName {
  let name: BlockName;
  try {
    name = parseBlockName(id);
  } catch (error) {
    if (!(error instanceof SomaError)) throw error;
    throw bad(given, field, error.message);
  }
  if (name.round > ROUNDS_MAX) throw bad(given, field, `"${id}" is above round ${ROUNDS_MAX}`);
  return name;
}

function bad({ name }: Named, field: string, what: string): SomaError {
  return new SomaError({
    code: "BAD_CASE",
    kind: "usage",
    what: `case "${name}": ${field}: ${what}`,
    next: "correct the case",
  });
}
