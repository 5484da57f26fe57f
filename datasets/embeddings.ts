/** What `soma embed` writes: one row an example. */
export interface EmbeddingRow {
  readonly id: string;
  readonly modality: string;
  /** Float32Array [dimension] */
  readonly embedding: Float32Array;
}
