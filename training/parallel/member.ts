/** A member's side of training with several processes; see team.ts. */
import { assert, SomaError } from "../../base/errors.ts";
import type { LeaderMessage, MemberMessage, PlainFailure, Rendezvous } from "./rendezvous.ts";

/**
 * Become a member: learn rank and job, do the job, end. Ends at once when the leader is gone.
 * Ctrl-C reaches every process of a terminal: the leader decides what it means.
 * @param work  its failure is told to the leader, who ends the run
 */
export function joinTeam(work: (rendezvous: Rendezvous, job: unknown) => Promise<void>): void {
  process.on("SIGINT", () => undefined);
  process.on("SIGTERM", () => undefined);
  process.on("disconnect", () => process.exit());
  const inbox = new Inbox();
  void inbox.next().then(async (first) => {
    assert(first.kind === "job", "a leader begins with the job");
    const { rank, size, job } = first;
    const rendezvous: Rendezvous = {
      rank,
      size,
      async meet(word) {
        await tell({ kind: "here", word });
        const answer = await inbox.next();
        assert(answer.kind === "words", "a meeting ends with everyone's words");
        return answer.words;
      },
    };
    try {
      await work(rendezvous, job);
      process.exit();
    } catch (error) {
      await tell(
        error instanceof SomaError
          ? { kind: "failed", failure: plain(error) }
          : { kind: "crashed", stack: stackOf(error) },
      );
      process.exit(1);
    }
  });
}

/** Messages of the leader, one at a time. */
class Inbox {
  private readonly unread: LeaderMessage[] = [];
  private reader: ((message: LeaderMessage) => void) | undefined;

  constructor() {
    process.on("message", (message: LeaderMessage) => {
      const { reader } = this;
      this.reader = undefined;
      if (reader === undefined) this.unread.push(message);
      else reader(message);
    });
  }

  next(): Promise<LeaderMessage> {
    const message = this.unread.shift();
    if (message !== undefined) return Promise.resolve(message);
    return new Promise((resolve) => {
      this.reader = resolve;
    });
  }
}

function tell(message: MemberMessage): Promise<void> {
  return new Promise((resolve) => {
    // If the leader is gone, "disconnect" ends us.
    process.send?.(message, undefined, undefined, () => {
      resolve();
    });
  });
}

function stackOf(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

function plain(error: SomaError): PlainFailure {
  const { code, kind, message: what, next } = error;
  return { code, kind, what, ...(next === undefined ? {} : { next }) };
}
