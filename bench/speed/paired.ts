/** Ours and the peer in turn, each time anew: what slows the machine down for a while slows down both. */
import type { Progress } from "../../base/progress.ts";

/** Pairs of runs when nobody says how many: enough for a median and a spread. */
export const PAIRS_DEFAULT = 5;

/** Run by run, at least one of each. */
export interface Pairs<Ours, Peer> {
  readonly ours: readonly [Ours, ...Ours[]];
  readonly peer: readonly [Peer, ...Peer[]];
}

/** ours, peer, ours, peer, … one after the other. @param count  1 or more, of each */
export async function runPairs<Ours, Peer>(
  count: number,
  work: { readonly ours: () => Promise<Ours>; readonly peer: () => Promise<Peer> },
  progress: Progress,
): Promise<Pairs<Ours, Peer>> {
  let done = 0;
  const next = async <T>(note: string, run: () => Promise<T>): Promise<T> => {
    progress.update({ done: done++, total: 2 * count, note });
    return run();
  };
  const ours: [Ours, ...Ours[]] = [await next("ours", work.ours)];
  const peer: [Peer, ...Peer[]] = [await next("peer", work.peer)];
  while (peer.length < count) {
    ours.push(await next("ours", work.ours));
    peer.push(await next("peer", work.peer));
  }
  progress.update({ done, total: 2 * count });
  progress.finish();
  return { ours, peer };
}
