/**
 * A made-up training step that any process can make again: an encoder, losses and batches, whole or one rank's rows.
 * For tests of training with several processes, which run it in each.
 */
import { packTokens } from "../../models/batch.ts";
import { parseEncoderConfig } from "../../models/config.ts";
import { Scope } from "../../models/module.ts";
import { TransformerEncoder } from "../../models/transformer.ts";
import { seededRng } from "../../tokenizers/random.ts";
import type { MaskedTokens } from "../../tokenizers/tokenizer.ts";
import { prepareStep } from "../../training/combine.ts";
import type { EmbeddingStep } from "../../training/objective.ts";
import { OBJECTIVES } from "../../training/objectives/registry.ts";
import { shareOf } from "../../training/parallel/share.ts";

export interface SpreadCase {
  /** Groups in a batch. */
  readonly groups: number;
  /** Batches accumulated into an update. */
  readonly accumulate: number;
  readonly loss: "infonce" | "sigmoid";
}

const CONFIG = parseEncoderConfig({
  architecture: "transformer",
  dimension: 24,
  matryoshka: [8, 24],
  image: { channels: [6, 8], width: 12, layers: 1, heads: 2, anchors: 2, maxPatches: 16 },
  text: { vocabularySize: 500, width: 12, layers: 1, heads: 2, maxTokens: 16, head: 10 },
});

/** Two pictures and two texts of each group, uneven; three objectives over them. */
export class SpreadStep {
  readonly encoder = new TransformerEncoder(CONFIG, seededRng(11, "weights"));
  private readonly scope = Scope.root(seededRng(12, "objective"));
  private readonly losses;
  private readonly given: SpreadCase;

  constructor(given: SpreadCase) {
    this.given = given;
    const settings = { loss: given.loss };
    const context = (name: string, values: Readonly<Record<string, unknown>>) => ({
      encoder: CONFIG,
      scope: this.scope.child(name),
      settings: values,
    });
    this.losses = [
      {
        name: "pairing",
        weight: 1,
        lossOf: OBJECTIVES.pairing.loss(
          context("pairing", { ...settings, images: 2, texts: 2, within: 0.5 }),
        ),
      },
      {
        name: "contrastive",
        weight: 0.3,
        lossOf: OBJECTIVES.contrastive.loss(context("contrastive", settings)),
      },
      {
        name: "differential",
        weight: 2,
        lossOf: OBJECTIVES.differential.loss(),
      },
    ];
  }

  get parameters() {
    return new Map([...this.encoder.parameters(), ...this.scope.parameters()]);
  }

  /** The batches of an update, with the rows of one rank. */
  steps(rank: number, size: number): readonly EmbeddingStep[] {
    const { groups, accumulate } = this.given;
    return Array.from({ length: accumulate }, (_, a) => {
      const pack = (rows: readonly MaskedTokens[]) => {
        const { begin, end } = shareOf(rows.length, { rank, size });
        const mine = rows.slice(begin, end);
        if (mine.length > 0) return packTokens(mine);
        const { kind } = packTokens(rows.slice(0, 1));
        const nothing = {
          size: 0,
          units: 1,
          visible: new Float32Array(0),
          lengths: new Float32Array(0),
        };
        return kind === "ids"
          ? { ...nothing, kind, ids: new Int32Array(0) }
          : { ...nothing, kind, patches: new Uint8Array(0), patchBytes: 768, grids: [] };
      };
      const pictures = Array.from({ length: 2 * groups }, (_, i) => picture(100 * a + i));
      const texts = Array.from({ length: 2 * groups }, (_, i) => text(100 * a + i));
      const views = Array.from({ length: 3 * groups }, (_, i) => picture(100 * a + 50 + i));
      return prepareStep(
        [[pack(pictures), pack(texts)], [pack(pictures)], [pack(views)]],
        this.losses,
      );
    });
  }

  dispose(): void {
    this.encoder.dispose();
    this.scope.dispose();
  }
}

function picture(seed: number): MaskedTokens {
  const rng = seededRng(seed, "picture");
  const [columns, rows] = [1 + rng.uniform(4), 1 + rng.uniform(3)];
  const patches = Uint8Array.from({ length: columns * rows * 768 }, () => rng.uniform(256));
  return {
    tokens: {
      kind: "patches",
      modality: "image",
      patches,
      patchBytes: 768,
      grid: { columns, rows, times: 1 },
    },
  };
}

function text(seed: number): MaskedTokens {
  const rng = seededRng(seed, "text");
  const ids = Int32Array.from({ length: 1 + rng.uniform(10) }, () => rng.uniform(500));
  return { tokens: { kind: "ids", modality: "text", ids } };
}
