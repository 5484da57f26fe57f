import { afterEach, describe, expect, test } from "vitest";
import { frameHead } from "../../../node/network/frame.ts";
import type { NetworkLimits } from "../../../node/network/limits.ts";
import { messageBytes } from "../../../node/network/message.ts";
import { encodeMessage } from "../../../node/network/wire.ts";
import { concatBytes } from "../../../protocol/base/bytes.ts";
import { seededRng } from "../../../tokenizers/random.ts";
import { HOST, type Node, otherCommittee, RawPeer, startNode, until } from "../../support/peers.ts";

const nodes: Node[] = [];
const sockets: RawPeer[] = [];

afterEach(() => {
  for (const { network } of nodes.splice(0)) network.stop();
  for (const { socket } of sockets.splice(0)) socket.destroy();
});

async function node(
  index: number,
  limits: Partial<NetworkLimits> = {},
  options: { readonly addresses?: ReadonlyMap<number, number>; readonly port?: number } = {},
): Promise<Node> {
  const started = await startNode(index, { limits, ...options });
  nodes.push(started);
  return started;
}

async function known(port: number, index: number): Promise<RawPeer> {
  const peer = await RawPeer.known(port, index);
  sockets.push(peer);
  return peer;
}

async function stranger(port: number): Promise<RawPeer> {
  const peer = await RawPeer.call(port);
  sockets.push(peer);
  return peer;
}

const hello = { kind: "subscribe", aboveRound: 7 } as const;

describe("a peer that breaks a form", () => {
  const cases: readonly (readonly [string, readonly Uint8Array[], string, string])[] = [
    [
      "a control frame over its limit",
      [frameHead(0, 64 * 1024 + 1)],
      "LENGTH_OVER_LIMIT",
      "a frame of type 0 with 65537 bytes, at most 65536",
    ],
    [
      "a data frame over its limit",
      [frameHead(1, 2 ** 30)],
      "LENGTH_OVER_LIMIT",
      "a frame of type 1 with 1073741824 bytes, at most 9437184",
    ],
    ["a frame without a type", [new Uint8Array(5)], "TRUNCATED", "a frame without a type"],
    ["an unknown type", [frameHead(99, 0)], "UNKNOWN_VARIANT", "no frame of type 99"],
    ["a second hello", [frameHead(240, 0)], "UNKNOWN_VARIANT", "no frame of type 240"],
    [
      "trailing bytes",
      [frameHead(0, 5), new Uint8Array(5)],
      "TRAILING_BYTES",
      "1 bytes after the end",
    ],
    [
      "a message cut short",
      [frameHead(0, 3), new Uint8Array(3)],
      "TRUNCATED",
      "4 bytes wanted, 3 left",
    ],
    [
      "a length that is not minimal",
      [frameHead(1, 2), Uint8Array.of(0x80, 0)],
      "LENGTH_NOT_CANONICAL",
      "a length with a needless zero byte",
    ],
    [
      "more references than there may be",
      [frameHead(2, 10), concatBytes(new Uint8Array(8), Uint8Array.of(0xe9, 7))],
      "LENGTH_OVER_LIMIT",
      "a length of 1001, at most 1000",
    ],
    [
      "more blocks than there are bytes",
      [frameHead(1, 2), Uint8Array.of(0xe8, 7)],
      "TRUNCATED",
      "1000 elements of at least 1 bytes, 0 bytes left",
    ],
    ["a bool of 2", [frameHead(7, 1), Uint8Array.of(2)], "BAD_BOOL", "a bool is 0 or 1, not 2"],
    [
      "a number above 2^53",
      [frameHead(4, 24), new Uint8Array(24).fill(255)],
      "INTEGER_TOO_LARGE",
      "a u64 above 2^53",
    ],
  ];
  test.each(cases)(
    "%s is closed and blamed; the others notice nothing",
    async (_what, parts, code, says) => {
      const { port, events, details, messages } = await node(0);
      const good = await known(port, 2);
      const bad = await known(port, 1);
      bad.say(hello);
      bad.send(...parts);
      bad.say(hello); // comes too late
      await bad.closed();
      await until(() => events.includes("disconnected 1"), "the bad one is gone");
      expect(events).toEqual([
        "connected 2",
        "connected 1",
        `misbehaved 1 ${code}`,
        "disconnected 1",
      ]);
      expect(details).toEqual([expect.stringContaining(`${code}: ${says}`)]);
      good.say(hello);
      await until(() => messages.length === 2, "the good one is heard");
      expect(messages.map(({ from }) => from)).toEqual([1, 2]);
    },
  );

  test("a frame that is begun and not ended in time is closed and blamed", async () => {
    const { port, events, details } = await node(0, { frameTimeoutMs: 50 });
    const slow = await known(port, 1);
    slow.say(hello); // a whole one is no reason
    slow.send(frameHead(1, 1000), new Uint8Array(500));
    await slow.closed();
    expect(events).toContain("misbehaved 1 FRAME_TIMEOUT");
    expect(details).toEqual(["a frame not ended within 50 ms"]);
  });

  test("a frame that drips in is not saved by each drop", async () => {
    const { port, events } = await node(0, { frameTimeoutMs: 60 });
    const slow = await known(port, 1);
    slow.send(frameHead(1, 1000));
    const drip = setInterval(() => {
      slow.send(Uint8Array.of(0));
    }, 5);
    await slow.closed();
    clearInterval(drip);
    expect(events).toContain("misbehaved 1 FRAME_TIMEOUT");
  });

  test("silence between frames is no fault", async () => {
    const { port, events } = await node(0, { frameTimeoutMs: 20 });
    const quiet = await known(port, 1);
    await new Promise((resolve) => setTimeout(resolve, 80));
    quiet.say(hello);
    await new Promise((resolve) => setTimeout(resolve, 80));
    expect(events).toEqual(["connected 1"]);
    expect(quiet.isClosed).toBe(false);
  });

  test("random bytes never do more than close their own connection", async () => {
    const { port, events, messages } = await node(0, { frameTimeoutMs: 100 });
    const good = await known(port, 3);
    const rng = seededRng(1, "garbage");
    for (let i = 0; i < 30; i++) {
      const bytes = Uint8Array.from({ length: 1 + rng.uniform(400) }, () => rng.uniform(256));
      const bad = i % 2 === 0 ? await known(port, 1) : await stranger(port);
      bad.send(bytes);
      bad.socket.end();
      await bad.closed();
    }
    good.say(hello);
    await until(() => messages.some(({ from }) => from === 3), "the good one is heard");
    expect(events.filter((event) => event.endsWith(" 3"))).toEqual(["connected 3"]);
  });
});

describe("the handshake", () => {
  test("nothing is heard before it, and who tries is a stranger to be blamed", async () => {
    const { port, events, messages, notices } = await node(0);
    const rude = await stranger(port);
    rude.send(...encodeMessage(hello));
    await rude.closed();
    expect(events).toEqual([]);
    expect(messages).toEqual([]);
    expect(notices).toMatchObject([{ kind: "strangerMisbehaved", code: "UNKNOWN_VARIANT" }]);
  });

  test.each([
    ["larger than a handshake can be", [frameHead(240, 1025)], "LENGTH_OVER_LIMIT"],
    ["of something else", [frameHead(240, 80), new Uint8Array(80)], "UNKNOWN_VARIANT"],
    ["cut short", [frameHead(240, 3), new Uint8Array(3)], "TRUNCATED"],
    ["with bytes after its end", [frameHead(240, 81), new Uint8Array(81)], "TRAILING_BYTES"],
    ["that is a proof first", [frameHead(241, 64), new Uint8Array(64)], "UNKNOWN_VARIANT"],
    ["that is a refusal for no reason", [frameHead(242, 1), Uint8Array.of(9)], "UNKNOWN_VARIANT"],
  ])("a hello %s is charged to a stranger, and no peer", async (_what, parts, code) => {
    const { port, events, notices } = await node(0);
    const friend = await known(port, 1);
    const rude = await stranger(port);
    rude.send(...parts);
    await rude.closed();
    expect(notices).toMatchObject([{ kind: "strangerMisbehaved", address: HOST, code }]);
    expect(events).toEqual(["connected 1"]);
    expect(friend.isClosed).toBe(false);
  });

  test("who says nothing is closed after a while", async () => {
    const { port, notices } = await node(0, { frameTimeoutMs: 40 });
    await (await stranger(port)).closed();
    expect(notices).toMatchObject([{ kind: "strangerMisbehaved", code: "FRAME_TIMEOUT" }]);
  });

  test("a signature of another key is refused", async () => {
    const { port, events, notices } = await node(0);
    const liar = await stranger(port);
    expect(await liar.shakeHands(1, { signer: 2 })).toBe("done"); // it has seen our proof
    await liar.closed();
    expect(events).toEqual([]);
    expect(notices).toMatchObject([{ kind: "strangerMisbehaved", code: "BAD_SIGNATURE" }]);
  });

  test("a proof that was overheard is worth nothing on another connection", async () => {
    const { port, events, notices } = await node(0);
    const heard: Buffer[] = [];
    const honest = await stranger(port);
    const write = honest.socket.write.bind(honest.socket);
    honest.socket.write = (bytes: Buffer) => {
      heard.push(Buffer.from(bytes));
      return write(bytes);
    };
    expect(await honest.shakeHands(1)).toBe("done");
    await until(() => events.length === 1, "the honest one is known");
    const copy = await stranger(port);
    for (const bytes of heard) copy.send(bytes);
    await copy.closed();
    expect(notices).toMatchObject([{ kind: "strangerMisbehaved", code: "BAD_SIGNATURE" }]);
    expect(events).toEqual(["connected 1"]);
  });

  test("our own proof, sent back to us, is worth nothing", async () => {
    const { port, events, notices } = await node(0);
    const mirror = await stranger(port);
    const handshake = mirror.shakeHands(1);
    await handshake;
    mirror.socket.destroy();
    const other = await stranger(port);
    other.socket.on("data", (bytes) => {
      other.send(bytes); // hello and all
    });
    await other.closed();
    expect(notices.at(-1)).toMatchObject({ kind: "refused", reason: "notExpected" });
    expect(events.filter((event) => event.startsWith("connected"))).toEqual(["connected 1"]);
  });

  test.each([
    ["epoch", otherCommittee(1, new Uint8Array(32))],
    ["network", otherCommittee(0, new Uint8Array(32).fill(1))],
  ])("another %s is refused politely, without blame", async (reason, committee) => {
    const { port, notices, events } = await node(0);
    const other = await stranger(port);
    await other.shakeHands(1, { committee });
    await other.closed();
    expect(notices).toMatchObject([{ kind: "refused", reason }]);
    expect(events).toEqual([]);
  });

  test("another version is told so", async () => {
    const { port, notices } = await node(0);
    const other = await stranger(port);
    const answer: Buffer[] = [];
    other.socket.on("data", (bytes) => answer.push(bytes));
    const body = new Uint8Array(4 + 2 + 32 + 8 + 2 + 32);
    body.set([0x53, 0x4f, 0x4d, 0x41, 2, 0]); // "SOMA", version 2
    other.send(frameHead(240, body.length), body);
    await other.closed();
    expect(Buffer.concat(answer).subarray(-6)).toEqual(Buffer.from([2, 0, 0, 0, 242, 0]));
    expect(notices).toMatchObject([{ kind: "refused", reason: "version" }]);
  });

  test("a peer is called by the one with the higher index, never the other way", async () => {
    const { port, notices } = await node(2);
    const lower = await stranger(port);
    await lower.shakeHands(1);
    await lower.closed();
    expect(notices).toMatchObject([{ kind: "refused", reason: "banned" }]);
  });

  test("a peer that calls anew replaces its old connection", async () => {
    const { port, events } = await node(0);
    const old = await known(port, 1);
    await known(port, 1);
    await old.closed();
    expect(events).toEqual(["connected 1", "disconnected 1", "connected 1"]);
  });
});

describe("limits", () => {
  test("more messages than the rate are read later, and all in order", async () => {
    const { port, messages } = await node(0, { messagesPerSecond: 100, messagesBurst: 20 });
    const busy = await known(port, 1);
    for (let i = 0; i < 60; i++) busy.say({ kind: "subscribe", aboveRound: i });
    const start = performance.now();
    await until(() => messages.length >= 20, "the burst");
    expect(messages.length).toBeLessThan(40);
    await until(() => messages.length === 60, "the rest");
    expect(performance.now() - start).toBeGreaterThan(300);
    expect(messages.map(({ message }) => message)).toEqual(
      Array.from({ length: 60 }, (_, i) => ({ kind: "subscribe", aboveRound: i })),
    );
  });

  test("what is not dealt with stops the reading, until it is", async () => {
    const receiver = await node(0, { receiveQueueBytesMax: 250_000, sendQueueBytesMax: 300_000 });
    const sender = await node(
      1,
      { sendQueueBytesMax: 300_000 },
      { addresses: new Map([[0, receiver.port]]) },
    );
    receiver.holds = true;
    await until(() => sender.events.includes("connected 0"), "connected");
    const message = { kind: "blocks", blocks: [new Uint8Array(100_000)] } as const;
    let sent = 0;
    const send = (): void => {
      while (sender.network.send(0, message)) sent++;
    };
    send();
    // What fits into the kernel's buffers comes on top of the two queues.
    for (let i = 0; i < 20; i++) {
      await new Promise((resolve) => setTimeout(resolve, 10));
      send();
    }
    expect(receiver.messages.length).toBe(3); // the first that passes the limit is the last
    expect(sent).toBeLessThan(150);
    receiver.holds = false;
    for (const release of receiver.releases) release();
    await until(() => receiver.messages.length === sent, "all that was sent");
    await until(() => sender.events.includes("writable 0"), "room again");
  });

  test("a peer that reads nothing costs no more than its queue, and is given up", async () => {
    const { port, network, events } = await node(0, {
      sendQueueBytesMax: 400_000,
      sendStallMs: 100,
    });
    const deaf = await known(port, 1);
    await until(() => events.length === 1, "known");
    deaf.socket.pause();
    const message = { kind: "blocks", blocks: [new Uint8Array(100_000)] } as const;
    let taken = 0;
    for (let i = 0; i < 500; i++) {
      if (network.send(1, message)) taken++;
      if (i % 50 === 0) await new Promise((resolve) => setTimeout(resolve, 1));
    }
    expect(taken * messageBytes(message)).toBeLessThan(30_000_000); // 400 kB, and the kernel's
    await until(() => events.includes("disconnected 1"), "given up");
    expect(network.send(1, message)).toBe(false);
  });

  test("connections of one address are bounded in rate", async () => {
    const { port } = await node(0, { isLoopbackExempt: false, connectionsPerAddressPerSecond: 5 });
    const start = performance.now();
    const callers = await Promise.all(Array.from({ length: 30 }, () => stranger(port)));
    const open = (): number => callers.filter(({ isClosed }) => !isClosed).length;
    const allowed = (): number => 5 + ((performance.now() - start) / 1000) * 5;
    await until(() => open() <= allowed(), "the others are closed", 2000); // 30 would be allowed after 5 s
    expect(open()).toBeGreaterThanOrEqual(5);
  });

  test("connections are bounded in number, peers and strangers together; who has one keeps it", async () => {
    const { port, events, messages } = await node(0, { connectionsMax: 2 });
    const friends = [await known(port, 1), await known(port, 2)];
    const third = await stranger(port);
    await third.closed();
    for (const friend of friends) friend.say(hello);
    await until(() => messages.length === 2, "the friends are heard");
    expect(events).toEqual(["connected 1", "connected 2"]);
    friends[0]?.socket.destroy();
    await until(() => events.includes("disconnected 1"), "a place is free");
    await known(port, 3);
    await until(() => events.includes("connected 3"), "and taken");
  });

  test("connections from this machine are not counted: a local network shares one address", async () => {
    const { port } = await node(0);
    const callers = await Promise.all(Array.from({ length: 20 }, () => stranger(port)));
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(callers.filter(({ isClosed }) => isClosed)).toEqual([]);
  });

  test("strangers are bounded in number; who is known keeps his place", async () => {
    const { port, events, messages } = await node(0, { unknownConnectionsMax: 3 });
    const friend = await known(port, 1);
    const callers = await Promise.all(Array.from({ length: 8 }, () => stranger(port)));
    await until(() => callers.filter(({ isClosed }) => isClosed).length === 5, "five are closed");
    friend.say(hello);
    await until(() => messages.length === 1, "the friend is heard");
    expect(events).toEqual(["connected 1"]);
  });

  test("an address that sent garbage is refused for a while", async () => {
    const { port } = await node(0, {
      isLoopbackExempt: false,
      addressBanMs: 300,
      connectionsPerAddressPerSecond: 100,
    });
    const bad = await stranger(port);
    bad.send(Buffer.from("GET / HTTP/1.1\r\nHost: example\r\n\r\n"));
    await bad.closed();
    const again = await stranger(port);
    await again.closed();
    await new Promise((resolve) => setTimeout(resolve, 350));
    expect(await (await stranger(port)).shakeHands(1)).toBe("done");
  });

  test("a banned peer is closed, refused, and welcome again later", async () => {
    const { port, network, events, notices } = await node(0);
    const peer = await known(port, 1);
    await until(() => events.length === 1, "known");
    network.ban(1, 200);
    await peer.closed();
    expect(await (await stranger(port)).shakeHands(1)).not.toBe("done");
    expect(notices).toMatchObject([{ kind: "refused", reason: "banned" }]);
    await new Promise((resolve) => setTimeout(resolve, 220));
    expect(await (await stranger(port)).shakeHands(1)).toBe("done");
  });
});

describe("calling", () => {
  test("a peer that is not there yet is called until it is; one that comes back is called again", async () => {
    const probe = await startNode(0);
    const { port } = probe;
    probe.network.stop();
    const caller = await node(
      1,
      { reconnectMinMs: 10, reconnectMaxMs: 40 },
      { addresses: new Map([[0, port]]) },
    );
    await new Promise((resolve) => setTimeout(resolve, 60));
    const first = await startNode(0, { port });
    await until(() => caller.events.includes("connected 0"), "the first life");
    first.network.stop();
    await until(() => caller.events.includes("disconnected 0"), "its end");
    await node(0, {}, { port });
    await until(() => caller.events.length === 3, "the second life");
    expect(caller.events).toEqual(["connected 0", "disconnected 0", "connected 0"]);
  });

  test("another validator at the address is not taken for the one that was called", async () => {
    const impostor = await node(0);
    const caller = await node(3, {}, { addresses: new Map([[1, impostor.port]]) });
    await until(() => caller.notices.length > 0, "refused");
    expect(caller.notices[0]).toMatchObject({ kind: "refused", reason: "notExpected" });
    expect(caller.events).toEqual([]);
    expect(impostor.events).toEqual([]);
  });
});
