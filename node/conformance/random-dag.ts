/** Random DAGs with equivocators, as honest and faulty validators on a bad network may make them. */
import { present } from "../../base/errors.ts";
import { consensusParameters } from "../../protocol/base/parameters.ts";
import { encodeBlock, EMPTY_PAYLOAD, type BlockRef } from "../../protocol/consensus/block.ts";
import { BlockVerifier, type VerifiedBlock } from "../../protocol/consensus/block-verifier.ts";
import type { Committee } from "../../protocol/consensus/committee.ts";
import type { Rng } from "../../tokenizers/random.ts";

export interface RandomDagOptions {
  readonly committee: Committee;
  readonly roundCount: number;
  /** The last so many validators sign up to three blocks a round. */
  readonly equivocatorCount: number;
  /** Chance that a validator has no block in a round; a quorum always has. */
  readonly absence: number;
  /** Chance that a block refers to another author's block of the round before; a quorum it always has. */
  readonly density: number;
  readonly rng: Rng;
}

/** Blocks by rounds upward. Every rule of blocks holds but for the signatures. */
export function randomDag(options: RandomDagOptions): readonly VerifiedBlock[] {
  const { committee, roundCount, equivocatorCount, rng } = options;
  const { size } = committee;
  const verifier = new BlockVerifier({
    committee,
    parameters: consensusParameters(),
    checkSignature: () => true,
  });
  const blocks: VerifiedBlock[] = [];
  /** Newest blocks of each author: several for twins. */
  const latest: BlockRef[][] = committee.genesis.map((ref) => [ref]);
  for (let round = 1; round <= roundCount; round++) {
    const made: VerifiedBlock[] = [];
    for (const author of presentIn(options)) {
      const isEquivocator = author >= size - equivocatorCount;
      const twinCount = isEquivocator ? 1 + rng.uniform(3) : 1;
      for (let twin = 0; twin < twinCount; twin++) {
        const ancestors = ancestorsFor(author, round, latest, options);
        if (ancestors === undefined) continue;
        const header = {
          epoch: committee.epoch,
          round,
          author,
          timestampMs: round * 100 + rng.uniform(50) + twin,
          ancestors,
          commitVotes: [],
        };
        const bytes = encodeBlock(header, [EMPTY_PAYLOAD], () => new Uint8Array(64));
        made.push(verifier.verify(verifier.read(bytes)));
      }
    }
    for (const author of new Set(made.map((block) => block.author))) {
      latest[author] = made.filter((block) => block.author === author).map(({ ref }) => ref);
    }
    blocks.push(...made);
  }
  return blocks;
}

function presentIn({ committee, absence, rng }: RandomDagOptions): readonly number[] {
  const order = [...rng.sample(committee.size, committee.size)];
  let stake = 0;
  return order.filter((author) => {
    const isIn = stake < committee.quorum || rng.unit() >= absence;
    if (isIn) stake += committee.stake(author);
    return isIn;
  });
}

function ancestorsFor(
  author: number,
  round: number,
  latest: readonly (readonly BlockRef[])[],
  { committee, density, rng }: RandomDagOptions,
): readonly BlockRef[] | undefined {
  const pick = (refs: readonly BlockRef[]): BlockRef =>
    present(refs[rng.uniform(refs.length)], "an author has a block");
  const own = pick(latest[author] ?? []);
  const ancestors = [own];
  let stake = own.round === round - 1 ? committee.stake(author) : 0;
  for (const other of rng.sample(committee.size, committee.size)) {
    if (other === author) continue;
    const ref = pick(latest[other] ?? []);
    if (ref.round !== round - 1) {
      if (rng.unit() < density / 2) ancestors.push(ref); // an older one
      continue;
    }
    if (stake >= committee.quorum && rng.unit() >= density) continue;
    ancestors.push(ref);
    stake += committee.stake(other);
  }
  return stake >= committee.quorum ? ancestors : undefined;
}
