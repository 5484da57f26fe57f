/** What has to be said to the tensor engine before it loads. */

export const PRECISIONS = ["float32", "bf16"] as const;
/** bf16: products of matrices may round their inputs to bfloat16; sums and everything stored stay float32. */
export type Precision = (typeof PRECISIONS)[number];

/** Threads that one op may use. Without effect once the backend has started. @param threads undefined: as it is */
export function setThreads(threads: number | undefined): void {
  if (threads === undefined) return;
  process.env["TF_NUM_INTRAOP_THREADS"] = String(threads);
  process.env["OMP_NUM_THREADS"] = String(threads);
}

/** Without effect once the backend has started. */
export function setPrecision(precision: Precision): void {
  if (precision === "bf16") process.env["ONEDNN_DEFAULT_FPMATH_MODE"] = "BF16";
  else delete process.env["ONEDNN_DEFAULT_FPMATH_MODE"];
}
