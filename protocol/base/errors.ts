/**
 * What protocol code says no with. A `RejectedError` is foreign data that breaks a rule: thrown at the door that checks
 * it, caught at one place (the core, the executor), charged to whoever sent it. Broken invariants of ours are
 * `assert`s of base/errors.ts and are never caught.
 */

/** Stable names of the rules that foreign data can break. */
export type RejectionCode =
  // encoding
  | "TRUNCATED"
  | "TRAILING_BYTES"
  | "LENGTH_NOT_CANONICAL"
  | "LENGTH_OVER_LIMIT"
  | "INTEGER_TOO_LARGE"
  | "BAD_BOOL"
  | "BAD_UTF8"
  | "UNKNOWN_VARIANT"
  | "KEYS_NOT_ASCENDING"
  | "TOO_DEEP"
  // blocks
  | "WRONG_EPOCH"
  | "GENESIS_ROUND"
  | "UNKNOWN_AUTHOR"
  | "BAD_SIGNATURE"
  | "ANCESTOR_COUNT"
  | "OWN_ANCESTOR_NOT_FIRST"
  | "UNKNOWN_ANCESTOR_AUTHOR"
  | "ANCESTOR_ROUND"
  | "WRONG_GENESIS"
  | "DUPLICATE_ANCESTOR_AUTHOR"
  | "PARENT_QUORUM"
  | "COMMIT_VOTES"
  | "PAYLOAD_DIGEST"
  | "TRANSACTION_SIZE"
  | "TRANSACTION_COUNT"
  | "TRANSACTION_BYTES"
  | "TRANSACTION_INVALID"
  | "WRONG_DIGEST"
  | "BLOCK_SIZE"
  // answers of peers
  | "NOT_ASKED_FOR"
  | "COMMIT_CHAIN"
  | "COMMIT_NOT_CERTIFIED";

/** Foreign data refused: by which rule, and with the numbers that show it. */
export class RejectedError extends Error {
  readonly code: RejectionCode;

  constructor(code: RejectionCode, detail: string) {
    super(`${code}: ${detail}`);
    this.name = "RejectedError";
    this.code = code;
  }
}

/**
 * The committee has more faults than it can bear (two leaders of one slot committed, two certified commits of one
 * index): going on would fork. Caught by the core alone, which stops for good and says why.
 */
export class SafetyError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "SafetyError";
  }
}
