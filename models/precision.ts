/** How exactly products of matrices are computed. */

export const PRECISIONS = ["float32", "bf16"] as const;
/** bf16: products round their inputs to bfloat16 (8 bits of mantissa); their sums and all that is stored stay float32. */
export type Precision = (typeof PRECISIONS)[number];
