/**
 * Real blocks from names: "B12" is the second validator's block of round 12, "B12.1" its twin. They are encoded and
 * decoded like any block, but not verified: cases and drawings hold blocks that a verifier would refuse, on purpose.
 */
import { SomaError } from "../../base/errors.ts";
import { consensusParameters } from "../../protocol/base/parameters.ts";
import { hashDomain, hashParts } from "../../protocol/base/hash.ts";
import { utf8 } from "../../protocol/base/bytes.ts";
import {
  type BlockRef,
  encodeBlock,
  EMPTY_PAYLOAD,
  refKey,
  refName,
  SIGNATURE_BYTES,
} from "../../protocol/consensus/block.ts";
import { BlockVerifier, type VerifiedBlock } from "../../protocol/consensus/block-verifier.ts";
import { Committee } from "../../protocol/consensus/committee.ts";
import { DagState, type Vertex } from "../../protocol/consensus/dag-state.ts";
import type { LeaderSchedule } from "../../protocol/consensus/leader-schedule.ts";

export interface BlockName {
  readonly author: number;
  readonly round: number;
  readonly twin: number;
}

export function parseBlockName(id: string): BlockName {
  const match = /^([A-Z])(0|[1-9]\d{0,9})(?:\.(0|[1-9]\d{0,9}))?$/.exec(id);
  const [, letter, round, twin] = match ?? [];
  if (letter === undefined || round === undefined) {
    throw new SomaError({
      code: "BAD_BLOCK_NAME",
      kind: "usage",
      what: `"${id}" names no block`,
      next: "write the author's letter and the round, as in B12, or B12.1 for a twin",
    });
  }
  return { author: letter.charCodeAt(0) - 65, round: Number(round), twin: Number(twin ?? 0) };
}

/** A committee for drawings. Validators are numbered as in the drawing; without `keys` nobody can sign. */
export function drawnCommittee(
  authorities: number,
  stakes?: readonly number[],
  options: { readonly epoch?: number; readonly keys?: readonly Uint8Array[] } = {},
): Committee {
  return new Committee({
    epoch: options.epoch ?? 0,
    authorities: Array.from({ length: authorities }, (_, author) => ({
      address: Uint8Array.from({ length: 32 }, (_unused, i) =>
        i < 2 ? (author >> (8 * (1 - i))) & 0xff : 0,
      ),
      publicKey: options.keys?.[author] ?? new Uint8Array(32).fill(author + 1),
      stake: stakes?.[author] ?? 1,
    })),
    genesisDigest: new Uint8Array(32),
    genesisTimestampMs: 0,
  });
}

export interface Drawing {
  readonly id: string;
  readonly parents: readonly string[];
  /** Milliseconds; the twin's number without it, so that twins differ. */
  readonly timestampMs?: number;
}

/** The blocks of a drawing by their names. */
export class DrawnDag {
  readonly committee: Committee;
  private readonly drawings: ReadonlyMap<string, Drawing>;
  private readonly blocks = new Map<string, VerifiedBlock>();
  private readonly names = new Map<string, string>();
  private readonly verifier: BlockVerifier;

  constructor(committee: Committee, drawings: readonly Drawing[]) {
    this.committee = committee;
    this.drawings = new Map(drawings.map((drawing) => [drawing.id, drawing]));
    this.verifier = new BlockVerifier({
      committee,
      parameters: consensusParameters(),
      checkSignature: () => false,
    });
    for (const ref of committee.genesis) this.names.set(refKey(ref), refName(ref));
    // In rounds upward, so that long chains need no deep recursion.
    for (const { id } of [...drawings].sort((a, b) => roundOf(a) - roundOf(b))) this.block(id);
  }

  block(id: string): VerifiedBlock {
    const made = this.blocks.get(id);
    if (made !== undefined) return made;
    const { author, round, twin } = parseBlockName(id);
    const drawing = this.drawings.get(id);
    const bytes = encodeBlock(
      {
        epoch: this.committee.epoch,
        round,
        author,
        timestampMs: drawing?.timestampMs ?? twin,
        ancestors: (drawing?.parents ?? []).map((parent) => this.ref(parent)),
        commitVotes: [],
      },
      [EMPTY_PAYLOAD],
      () => new Uint8Array(SIGNATURE_BYTES),
    );
    const block = this.verifier.restored(bytes);
    this.blocks.set(id, block);
    this.names.set(refKey(block), id);
    return block;
  }

  /** A block that is not drawn has a name of its own nevertheless: it can be missed. */
  ref(id: string): BlockRef {
    const { author, round } = parseBlockName(id);
    const genesis = round === 0 ? this.committee.genesis[author] : undefined;
    if (genesis !== undefined) return genesis;
    if (this.drawings.has(id)) return this.block(id);
    const digest = hashParts(hashDomain("drawing"), utf8(id));
    this.names.set(refKey({ round, author, digest }), id);
    return { round, author, digest };
  }

  nameOf(ref: BlockRef): string {
    return this.names.get(refKey(ref)) ?? refKey(ref);
  }

  /** Put a block into a DAG by itself, whatever it refers to. */
  addTo(dag: DagState, id: string): Vertex {
    const block = this.block(id);
    const parents = dag.parentsOf(block.ancestors, Infinity) ?? [];
    return dag.add(block, parents, block);
  }
}

function roundOf({ id }: Drawing): number {
  return parseBlockName(id).round;
}

export type DrawnLeaderRule =
  | { readonly kind: "round-robin" }
  | { readonly kind: "table"; readonly table: Readonly<Record<string, readonly number[]>> };

/** The case's own leaders: by a table where it has an entry, else (round + offset) mod n. */
export function drawnSchedule(
  rule: DrawnLeaderRule,
  authorities: number,
  leadersPerRound: number,
): LeaderSchedule {
  const table = rule.kind === "table" ? rule.table : {};
  return {
    leaders: (round) =>
      Array.from(
        { length: leadersPerRound },
        (_, offset) => table[String(round)]?.[offset] ?? (round + offset) % authorities,
      ),
  };
}
