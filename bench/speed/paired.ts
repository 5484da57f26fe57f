/** Ours and the peer in turn, each time anew: what slows the machine down for a while slows down both. */
import type { Progress } from "../../base/progress.ts";

/** Pairs of runs when nobody says how many: enough for a median and a spread. */
export const PAIRS_DEFAULT = 5;

export interface Pairs<Ours, Peer> {
  readonly ours: readonly Ours[];
  readonly peer: readonly Peer[];
}

/** ours, peer, ours, peer, … one after the other. */
export async function runPairs<Ours, Peer>(
  count: number,
  work: { readonly ours: () => Promise<Ours>; readonly peer: () => Promise<Peer> },
  progress: Progress,
): Promise<Pairs<Ours, Peer>> {
  const ours: Ours[] = [];
  const peer: Peer[] = [];
  for (let i = 0; i < count; i++) {
    progress.update({ done: 2 * i, total: 2 * count, note: "ours" });
    ours.push(await work.ours());
    progress.update({ done: 2 * i + 1, total: 2 * count, note: "peer" });
    peer.push(await work.peer());
  }
  progress.update({ done: 2 * count, total: 2 * count });
  progress.finish();
  return { ours, peer };
}
