/** Answers go to the connection that was asked on. */
import { expect, test } from "vitest";
import { BlockServer } from "../../../node/runtime/block-server.ts";
import type { PeerMessage } from "../../../node/network/message.ts";
import { MemoryStore } from "../../../node/storage/memory-store.ts";
import { consensusParameters } from "../../../protocol/base/parameters.ts";
import { PEER_COMMITTEE } from "../../support/peers.ts";

/** A store whose reads the test answers. */
class SlowStore extends MemoryStore {
  readonly reads: (() => void)[] = [];

  override readBlocks(
    _refs: unknown,
    _sizeBytesMax: number,
    done: (blocks: readonly Uint8Array[]) => void,
  ): void {
    this.reads.push(() => {
      done([]);
    });
  }
}

function setUp(): { server: BlockServer; store: SlowStore; sent: PeerMessage[] } {
  const store = new SlowStore();
  const sent: PeerMessage[] = [];
  const send = (_peer: number, message: PeerMessage): boolean => {
    sent.push(message);
    return true;
  };
  const parameters = consensusParameters();
  const server = new BlockServer({
    committee: PEER_COMMITTEE,
    parameters,
    store,
    network: { send },
  });
  return { server, store, sent };
}

const ask = (request: number): { kind: "fetchBlocks"; request: number; refs: [] } => ({
  kind: "fetchBlocks",
  request,
  refs: [],
});

test("what was asked on a connection that broke is not answered on the one after it", () => {
  const { server, store, sent } = setUp();
  let released = 0;
  const release = (): void => {
    released++;
  };
  server.answer(1, ask(7), release);
  server.disconnected(1); // and connected again: the peer started anew, and its request 7 is another one
  server.answer(1, ask(7), release);
  for (const read of store.reads) read();
  expect(released).toBe(2);
  expect(sent).toEqual([{ kind: "fetchedBlocks", request: 7, blocks: [] }]);
});

test("another peer's broken connection changes nothing", () => {
  const { server, store, sent } = setUp();
  server.answer(1, ask(7), () => undefined);
  server.disconnected(2);
  for (const read of store.reads) read();
  expect(sent).toHaveLength(1);
});
