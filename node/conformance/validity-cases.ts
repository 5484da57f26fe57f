/** Cases of the block verifier: real keys, real signatures, the limits of the case. */
import type { RejectionCode } from "../../protocol/base/errors.ts";
import { RejectedError } from "../../protocol/base/errors.ts";
import { Writer } from "../../protocol/base/wire.ts";
import { type ConsensusParameters, consensusParameters } from "../../protocol/base/parameters.ts";
import { encodeBlock, SIGNATURE_BYTES } from "../../protocol/consensus/block.ts";
import { BlockVerifier } from "../../protocol/consensus/block-verifier.ts";
import { committeeSignatures } from "../../protocol/consensus/signatures.ts";
import { Ed25519Signer } from "../../protocol/crypto/ed25519.ts";
import type { ValidityCase, ValidityContext } from "./case-file.ts";
import { drawnCommittee, DrawnDag } from "./drawn-dag.ts";

export interface ValidityAnswer {
  readonly name: string;
  readonly valid: boolean;
  /** Name of the first rule that is broken, as the cases' schema calls it. */
  readonly reason?: string;
}

/** Our codes by the names of the schema. */
const REASONS: Partial<Record<RejectionCode, string>> = {
  WRONG_EPOCH: "epoch",
  GENESIS_ROUND: "genesis-round",
  UNKNOWN_AUTHOR: "author-index",
  BAD_SIGNATURE: "signature",
  ANCESTOR_COUNT: "ancestor-count",
  OWN_ANCESTOR_NOT_FIRST: "own-ancestor-first",
  UNKNOWN_ANCESTOR_AUTHOR: "ancestor-author-index",
  ANCESTOR_ROUND: "ancestor-round",
  WRONG_GENESIS: "genesis-ancestor",
  DUPLICATE_ANCESTOR_AUTHOR: "duplicate-ancestor-author",
  PARENT_QUORUM: "parent-quorum",
  TRANSACTION_SIZE: "tx-size",
  TRANSACTION_COUNT: "tx-count",
  TRANSACTION_BYTES: "tx-bytes",
  TRANSACTION_INVALID: "tx-invalid",
};

/** What the schema's cases come from, where a case names no limits. */
const LIMITS = {
  transactionBytesMax: 256 * 1024,
  blockTransactionCountMax: 512,
  blockTransactionBytesMax: 512 * 1024,
};

const DEFAULT_CONTEXT: ValidityContext = { authorities: 4, epoch: 0 };

export function runValidityCase({
  name,
  block,
  context = DEFAULT_CONTEXT,
}: ValidityCase): ValidityAnswer {
  const { authorities, stakes, epoch, limits } = context;
  const keys = Array.from({ length: authorities }, (_, author) => signerOf(author).publicKey);
  const committee = drawnCommittee(authorities, stakes, { epoch, keys });
  const verifier = new BlockVerifier({
    committee,
    parameters: consensusParameters({ ...limitsOf(limits), blockBytesMax: 2 ** 31 }),
    checkSignature: committeeSignatures(committee),
    checkTransactions: () => block.txInvalid == null || block.txInvalid === false,
  });
  const drawn = new DrawnDag(committee, []);
  const bytes = encodeBlock(
    {
      epoch: block.epoch,
      round: block.round,
      author: block.author,
      timestampMs: 1,
      ancestors: block.ancestors.map((id) => drawn.ref(id)),
      commitVotes: [],
    },
    [payloadOf(block.txBytes ?? [])],
    (digest) =>
      block.signedBy == null
        ? new Uint8Array(SIGNATURE_BYTES)
        : signerOf(block.signedBy).sign(digest),
  );
  try {
    verifier.verify(verifier.read(bytes));
    return { name, valid: true };
  } catch (error) {
    if (!(error instanceof RejectedError)) throw error;
    return { name, valid: false, reason: REASONS[error.code] ?? error.code };
  }
}

function signerOf(author: number): Ed25519Signer {
  const seed = new Uint8Array(32);
  new DataView(seed.buffer).setUint32(0, author + 1);
  return new Ed25519Signer(seed);
}

function payloadOf(sizes: readonly number[]): Uint8Array {
  const writer = new Writer(sizes.reduce((sum, size) => sum + size + 5, 5));
  writer.length(sizes.length);
  for (const size of sizes) {
    writer.length(size);
    writer.raw(new Uint8Array(size));
  }
  return writer.finish();
}

/** The schema does not spell the limits' names: told apart by "count", by "total" or "block", else one transaction's size. */
function limitsOf(limits: ValidityContext["limits"]): Partial<ConsensusParameters> {
  let found: Partial<Record<keyof typeof LIMITS, number>> = {};
  for (const [name, value] of Object.entries(limits ?? {})) {
    if (value === undefined) continue;
    const limit = /count|number|num|per_?block$|transactions$|txs$/i.test(name)
      ? "blockTransactionCountMax"
      : /total|block|sum|all/i.test(name)
        ? "blockTransactionBytesMax"
        : "transactionBytesMax";
    found = { ...found, [limit]: value };
  }
  return { ...LIMITS, ...found };
}
