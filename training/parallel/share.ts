/** How things in order are divided among processes. */

/** One of `size` processes, counted from 0. */
export interface Part {
  readonly rank: number;
  readonly size: number;
}

/** Things `begin` … `end` − 1. */
export interface Share {
  readonly begin: number;
  readonly end: number;
}

/** The part of `count` things: ranks differ by one at most, and the first have more. */
export function shareOf(count: number, { rank, size }: Part): Share {
  const least = Math.floor(count / size);
  const extra = count % size;
  const begin = rank * least + Math.min(rank, extra);
  return { begin, end: begin + least + (rank < extra ? 1 : 0) };
}
