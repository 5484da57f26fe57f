/** What has to be said to the tensor engine before it loads. */

/** Threads that one op may use. Without effect once the backend has started. @param threads undefined: as it is */
export function setThreads(threads: number | undefined): void {
  if (threads === undefined) return;
  process.env["TF_NUM_INTRAOP_THREADS"] = String(threads);
  process.env["OMP_NUM_THREADS"] = String(threads);
}
