/** Face of the wing: what a program that uses models needs. Nothing inside the house imports it. */
export { startBackend, describeBackend, type BackendInfo } from "./backend.ts";
export type { ModelCard } from "./card.ts";
export { loadCheckpoint, saveCheckpoint } from "./checkpoint.ts";
export { readCheckpoint, resolveCheckpoint, type Checkpoint } from "./checkpoint-folder.ts";
export { parseEncoderConfig, type EncoderConfig } from "./config.ts";
export { cosine, cutEmbedding, type EmbedOptions } from "./embedding.ts";
export type { Embedding, Encoder } from "./encoder.ts";
export { createNeighborIndex, loadNeighborIndex } from "./neighbors/create.ts";
export type { Neighbor, NeighborIndex } from "./neighbors/neighbor-index.ts";
export { readSafetensors, writeSafetensors, type HostTensor } from "./safetensors.ts";
export { EncoderSession } from "./session.ts";
export { TransformerEncoder } from "./transformer.ts";
