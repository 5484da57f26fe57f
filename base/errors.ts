/**
 * The errors a user meets, and the exit code each one ends the program with.
 * Expected refusals are `SomaError`s, caught at one place (the command line, the HTTP door).
 * A broken invariant is an `InvariantError`: a bug of ours, never caught.
 */

/** Exit codes of the program: guides "using it", one table for all commands. */
export const EXIT_CODES = {
  failure: 1,
  usage: 2,
  notFound: 3,
  refused: 4,
  corrupt: 5,
  network: 6,
  resources: 7,
  timedOut: 124,
  interrupted: 130,
  terminated: 143,
} as const;

export type FailureKind = keyof typeof EXIT_CODES;

export interface Failure {
  /** Stable name in capitals, e.g. "IMAGE_TOO_LARGE": what scripts match on. */
  readonly code: string;
  /** Decides the exit code. */
  readonly kind: FailureKind;
  /** What is wrong and where: one sentence without a full stop. */
  readonly what: string;
  /** What to do next: one sentence without a full stop. */
  readonly next?: string;
}

/** An expected refusal or failure: says what, where, and what to do. */
export class SomaError extends Error {
  readonly code: string;
  readonly kind: FailureKind;
  readonly next: string | undefined;

  constructor(failure: Failure, options?: { readonly cause?: unknown }) {
    super(failure.what, options);
    this.name = "SomaError";
    this.code = failure.code;
    this.kind = failure.kind;
    this.next = failure.next;
  }

  get exitCode(): number {
    return EXIT_CODES[this.kind];
  }

  /** As plain data, to be made anew in another thread or process. */
  get failure(): Failure {
    const { code, kind, message: what, next } = this;
    return { code, kind, what, ...(next === undefined ? {} : { next }) };
  }

  /** One line for a terminal: `error[CODE]: what; what to do next`. */
  line(): string {
    return `error[${this.code}]: ${this.message}${this.next === undefined ? "" : `; ${this.next}`}`;
  }
}

/** A bug of ours. Never caught, kept in production. */
export class InvariantError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "InvariantError";
  }
}

export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new InvariantError(message);
}

/** The value, or an InvariantError if it is missing: for indices that are known to be in range. */
export function present<T>(value: T | undefined | null, message: string): T {
  if (value === undefined || value === null) throw new InvariantError(message);
  return value;
}
