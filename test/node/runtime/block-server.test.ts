import { describe, expect, test } from "vitest";
import { BlockServer } from "../../../node/runtime/block-server.ts";
import { ANSWERS_PER_PEER_MAX, BLOCKS_PER_ANSWER_MAX } from "../../../node/runtime/limits.ts";
import { DEFAULT_CONSENSUS_PARAMETERS } from "../../../protocol/base/parameters.ts";
import type { BlockRef } from "../../../protocol/consensus/block.ts";
import { HandNetwork, HandStore } from "../../support/driver-ports.ts";
import { madeBlock } from "../../support/log-records.ts";
import { PEER_COMMITTEE } from "../../support/peers.ts";

/** A store whose reads the test answers. */
class SlowStore extends HandStore {
  readonly reads: (() => void)[] = [];
  refCountMax = 0;

  override readBlocks(
    refs: readonly BlockRef[],
    sizeBytesMax: number,
    done: (blocks: readonly Uint8Array[]) => void,
  ): void {
    this.refCountMax = Math.max(this.refCountMax, refs.length);
    this.reads.push(() => {
      super.readBlocks(refs, sizeBytesMax, done);
    });
  }
}

function served(): {
  readonly store: SlowStore;
  readonly network: HandNetwork;
  readonly server: BlockServer;
  readonly ask: (peer: number, request: number, refs?: readonly BlockRef[]) => void;
  readonly released: () => number;
} {
  const [store, network] = [new SlowStore(), new HandNetwork()];
  const server = new BlockServer({
    committee: PEER_COMMITTEE,
    parameters: DEFAULT_CONSENSUS_PARAMETERS,
    store,
    network,
  });
  let count = 0;
  return {
    store,
    network,
    server,
    ask: (peer, request, refs = []) => {
      server.answer(peer, { kind: "fetchBlocks", request, refs }, () => count++);
    },
    released: () => count,
  };
}

describe("a peer that asks faster than it is answered", () => {
  test("has so many requests open, and the others' are answered as ever: one with an empty disk takes no place of theirs", () => {
    const { store, network, ask, released } = served();
    for (let request = 1; request <= 3 * ANSWERS_PER_PEER_MAX; request++) ask(1, request);
    expect(store.reads.length).toBe(ANSWERS_PER_PEER_MAX);
    expect(released()).toBe(2 * ANSWERS_PER_PEER_MAX); // passed over, and not kept
    ask(2, 1);
    store.reads.at(-1)?.();
    expect(network.sent).toMatchObject([{ peer: 2, message: { request: 1 } }]);
    for (const read of store.reads.splice(0, ANSWERS_PER_PEER_MAX)) read();
    expect(network.sent.filter(({ peer }) => peer === 1).length).toBe(ANSWERS_PER_PEER_MAX);
    ask(1, 100); // there is room again
    store.reads.at(-1)?.();
    expect(network.sent.at(-1)).toMatchObject({ peer: 1, message: { request: 100 } });
  });

  test("and is gone gets no answer over its next connection", () => {
    const { store, network, server, ask, released } = served();
    ask(1, 7);
    server.disconnected(1);
    store.reads[0]?.();
    expect(network.sent).toEqual([]);
    expect(released()).toBe(1);
  });
});

test("an answer holds so many blocks, however many are asked for", () => {
  const { store, ask } = served();
  const { ref } = madeBlock(1, 1, 5);
  ask(
    1,
    1,
    Array.from({ length: BLOCKS_PER_ANSWER_MAX + 1 }, () => ref),
  );
  expect(store.refCountMax).toBe(BLOCKS_PER_ANSWER_MAX);
});
