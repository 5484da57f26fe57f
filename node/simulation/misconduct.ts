/** The ways of a faulty validator. Each draws what it does from its own generator. */
import { present } from "../../base/errors.ts";
import type { AuthorityIndex, Block, Round } from "../../protocol/consensus/block.ts";
import { REF_BYTES } from "../../protocol/consensus/block.ts";
import { u32Bytes } from "../../protocol/base/bytes.ts";
import { type Micros, MS } from "./event-queue.ts";
import type { FaultyValidator, Misconduct } from "./faulty-validator.ts";

export const MISCONDUCTS = [
  "silent",
  "withholding",
  "slow",
  "twins",
  "garbage",
  "jump",
  "split",
] as const;
export type MisconductName = (typeof MISCONDUCTS)[number];

export function misconductOf(name: MisconductName): Misconduct {
  return MAKERS[name];
}

/** Says nothing where it leads, so that the others wait for it as long as they wait for anyone. */
const silent: Misconduct = {
  propose(round, self) {
    if (self.leads(round)) {
      self.confess();
      return;
    }
    const block = self.makeBlock(round);
    if (block !== undefined) self.sendBlock(self.peers, block);
  },
  answers: () => true,
};

/** Gives its block to a few, at most just too few, and answers hardly anyone who asks for it. */
const withholding: Misconduct = {
  propose(round, self) {
    const block = self.makeBlock(round);
    if (block === undefined) return;
    self.confess();
    self.sendBlock(somePeers(self, self.rng.uniform(self.peers.length)), block);
  },
  answers: (_peer, self) => self.rng.uniform(4) === 0,
};

/** The leader timeout, a little less and a little more: the others go on without it, or just not. */
const LATE_MIN: Micros = 120 * MS;
const LATE_MAX: Micros = 280 * MS;

/** Sends every block as late as others wait. */
const slow: Misconduct = {
  propose(round, self) {
    const block = self.makeBlock(round);
    if (block === undefined) return;
    self.confess();
    self.after(LATE_MIN + self.rng.uniform(LATE_MAX - LATE_MIN), () => {
      self.sendBlock(self.peers, block);
    });
  },
  answers: () => true,
};

/** Two or three blocks of each round, each peer is shown one of them; on some days both. */
const twins: Misconduct = {
  propose(round, self) {
    const blocks = makeTwins(round, self, 2 + self.rng.uniform(2));
    self.confess(Math.max(0, blocks.length - 1));
    for (const peer of self.peers) {
      const shown = blocks[self.rng.uniform(Math.max(1, blocks.length))];
      if (shown === undefined) return;
      self.sendBlock([peer], shown);
      if (self.rng.uniform(8) === 0) for (const each of blocks) self.sendBlock([peer], each);
    }
  },
  answers: () => true,
};

/**
 * The part of the faulty in the attack that lives on round jumping (Qiu, Xiao, Shao, IEEE S&P 2026): they keep the rounds
 * going and vote for no leader, so that a slot has no quorum for it as soon as one honest validator has jumped over the
 * round of the votes; and they are too few for one against it. Where one of them leads, its twins part the votes of the
 * others. The network's part, which makes honest ones jump, is in jump-attack.ts.
 */
const jump: Misconduct = {
  propose(round, self) {
    const avoid = new Set(self.leadersOf(round - 1).filter((each) => each !== self.index));
    soon(self, {
      when: () => self.canAvoid(round, avoid),
      run: () => {
        const twins = [0, 1].slice(0, self.leads(round) ? 2 : 1);
        const blocks = twins.map((timestampShiftMs) =>
          self.makeBlock(round, { avoid, timestampShiftMs }),
        );
        self.confess();
        self.peers.forEach((peer, i) => {
          const shown = blocks[i % blocks.length];
          if (shown !== undefined) self.sendBlock([peer], shown);
        });
      },
    });
  },
  answers: () => true,
};

/** The part of the faulty in the attack of split-attack.ts: votes and certificates for the eyes of one. */
const split: Misconduct = {
  propose(round, self) {
    const { phase, leader, victim, favourite, voters } = self.splitRoles(round);
    if (phase === 1 || phase === 2) {
      const avoid = new Set(phase === 1 ? [leader] : []);
      soon(self, {
        when: () => self.knows(round - 1, phase === 1 ? [leader] : voters),
        run: () => {
          const secret = self.makeBlock(round, { own: "first" });
          const open = self.makeBlock(round, { avoid, own: "last", timestampShiftMs: 1 });
          self.confess();
          for (const peer of self.peers) {
            const shown = peer === favourite ? secret : open;
            if (shown !== undefined) self.sendBlock([peer], shown);
          }
        },
      });
      return;
    }
    const block = self.makeBlock(round, { own: "last" });
    if (block === undefined) return;
    const keepsBack = phase === 0 && leader === self.index;
    self.sendBlock(keepsBack ? self.peers.filter((peer) => peer !== victim) : self.peers, block);
  },
  answers: () => true,
};

/** Blocks as they should be, and every sort of thing that they should not be. */
const garbage: Misconduct = {
  propose(round, self) {
    const block = self.makeBlock(round, {
      commitVotes: [{ index: 10 ** 9, digest: noise(self, 32) }],
    });
    if (block !== undefined) self.sendBlock(self.peers, block);
  },
  answers: (_peer, self) => self.rng.uniform(2) === 0,
  trouble(self) {
    const peer = self.peers[self.rng.uniform(self.peers.length)];
    if (peer === undefined) return;
    self.confess();
    const request = self.rng.uniform(1000);
    const junk = spoilt(self);
    switch (self.rng.uniform(6)) {
      case 0:
        self.send(peer, { kind: "blocks", blocks: [junk] });
        return;
      case 1:
        self.send(peer, { kind: "fetchedBlocks", request, blocks: [junk] });
        return;
      case 2:
        self.send(peer, { kind: "fetchedCommits", request, commits: [junk], certifiers: [junk] });
        return;
      case 3:
        self.send(peer, { kind: "ownBlock", block: junk });
        return;
      case 4:
        self.send(peer, { kind: "fetchBlocks", request, refs: unknownRefs(self) });
        return;
      default:
        self.send(peer, { kind: "fetchCommits", request, fromIndex: 1, toIndex: 2 ** 40 });
    }
  },
};

const MAKERS: Readonly<Record<MisconductName, Misconduct>> = {
  silent,
  withholding,
  slow,
  twins,
  garbage,
  jump,
  split,
};

/** How often one that waits for its chance looks for it, and how often at most. */
const LOOK_EVERY: Micros = 5 * MS;
const LOOKS_MAX = 30;

/** When its chance has come, or will not come any more. */
function soon(
  self: FaultyValidator,
  { when, run }: { readonly when: () => boolean; readonly run: () => void },
  looks = 0,
): void {
  if (looks >= LOOKS_MAX || when()) run();
  else {
    self.after(LOOK_EVERY, () => {
      soon(self, { when, run }, looks + 1);
    });
  }
}

function makeTwins(round: Round, self: FaultyValidator, count: number): readonly Block[] {
  return Array.from({ length: count }, (_, i) =>
    self.makeBlock(round, {
      timestampShiftMs: i,
      avoid: new Set(somePeers(self, self.rng.uniform(self.peers.length))),
    }),
  ).filter((block) => block !== undefined);
}

function somePeers(self: FaultyValidator, count: number): readonly AuthorityIndex[] {
  const places = self.rng.sample(self.peers.length, count);
  return Array.from(places, (place) => present(self.peers[place], "a sample is of what is there"));
}

/** A real block with bits turned, cut short or made long; or noise. */
function spoilt(self: FaultyValidator): Uint8Array {
  const real = self.anyBlock()?.bytes;
  if (real === undefined || self.rng.uniform(4) === 0) return noise(self, self.rng.uniform(400));
  switch (self.rng.uniform(3)) {
    case 0: {
      const bytes = real.slice();
      const place = self.rng.uniform(bytes.length);
      bytes[place] = (bytes[place] ?? 0) ^ (1 << self.rng.uniform(8));
      return bytes;
    }
    case 1:
      return real.slice(0, self.rng.uniform(real.length));
    default: {
      const bytes = new Uint8Array(real.length + 1 + self.rng.uniform(8));
      bytes.set(real);
      return bytes;
    }
  }
}

function unknownRefs(self: FaultyValidator): readonly {
  readonly round: Round;
  readonly author: AuthorityIndex;
  readonly digest: Uint8Array;
}[] {
  return Array.from({ length: 1 + self.rng.uniform(REF_BYTES) }, () => ({
    round: self.rng.uniform(2 ** 32),
    author: self.rng.uniform(2 ** 16),
    digest: noise(self, 32),
  }));
}

function noise(self: FaultyValidator, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; at += 4) {
    bytes.set(u32Bytes(self.rng.word()).subarray(0, Math.min(4, length - at)), at);
  }
  return bytes;
}
