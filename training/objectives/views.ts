/**
 * What an objective compares: rows of one group, as they will stand in a batch. Which groups make up a step, which of their
 * rows and which augmentation are functions of (seed, step), so a resumed run sees what it would have seen.
 */
import { assert, present, SomaError } from "../../base/errors.ts";
import { byGroup, GroupSampler } from "../../datasets/batch.ts";
import { labelText } from "../../datasets/label-text.ts";
import type { Rng } from "../../tokenizers/random.ts";
import type { Image } from "../../tokenizers/tokenizer.ts";
import { drawView, drawVisible, type AugmentSettings } from "../augment.ts";
import {
  unitsOfRow,
  type PictureRow,
  type SampleExample,
  type SamplerContext,
  type TextRow,
} from "../sampler.ts";

export type ViewModality = "image" | "text";

/** Training groups that have at least as many rows with each modality as `needs` says. */
export class Groups {
  private readonly rows: ReadonlyMap<string, readonly SampleExample[]>;
  private readonly sampler: GroupSampler;

  constructor(
    context: SamplerContext,
    needs: Readonly<Partial<Record<ViewModality, number>>>,
    objective = "contrastive",
  ) {
    const train = context.dataset.examples.filter((example) => example.split === "train");
    const usable = [...byGroup(train)].filter(([, rows]) =>
      (Object.entries(needs) as [ViewModality, number][]).every(
        ([modality, rowsMin]) => rows.filter((row) => hasModality(row, modality)).length >= rowsMin,
      ),
    );
    this.rows = new Map(usable);
    if (usable.length < 2) {
      const what = Object.entries(needs)
        .map(([modality, rowsMin]) => `${rowsMin} ${modality} row${rowsMin === 1 ? "" : "s"}`)
        .join(" and ");
      throw new SomaError({
        code: "TOO_FEW_GROUPS",
        kind: "usage",
        what: `dataset ${context.dataset.name} has ${usable.length} training groups with ${what}; 2 are needed`,
        next: Object.values(needs).some((rowsMin) => rowsMin > 1)
          ? `give rows that belong together the same group, or compare two views of each row: --set objectives.${objective}.from=augment`
          : "give rows that belong together the same group, or choose another objective",
      });
    }
    this.sampler = new GroupSampler([...this.rows.keys()], context.seed, context.batchSize);
  }

  /** The groups of a step, each with its rows: every group once a pass. */
  at(step: number): readonly (readonly SampleExample[])[] {
    return this.sampler.at(step).map((name) => present(this.rows.get(name), "rows of a group"));
  }
}

/** `count` rows of a group in random order; fewer rows than that are used again. */
export function drawRows(
  rows: readonly SampleExample[],
  count: number,
  rng: Rng,
): readonly SampleExample[] {
  const order = rng.sample(rows.length, Math.min(count, rows.length));
  return Array.from({ length: count }, (_, i) =>
    present(rows[present(order[i % order.length], "a row was drawn")], "a row of the group"),
  );
}

export function hasModality(example: SampleExample, modality: ViewModality): boolean {
  return modality === "image" ? example.image !== undefined : example.text !== undefined;
}

/** Examples as rows of a batch, pictures augmented. */
export class Views {
  private readonly context: SamplerContext;
  private readonly augmentation: AugmentSettings;
  private readonly ids = new Map<string, Int32Array>();

  constructor(context: SamplerContext, augmentation: AugmentSettings) {
    this.context = context;
    this.augmentation = augmentation;
  }

  image(example: SampleExample, rng: Rng): PictureRow {
    const image = this.picture(example);
    const row = { kind: "picture", image, view: drawView(image, this.augmentation, rng) } as const;
    const { hide } = this.augmentation;
    return hide === 0 ? row : { ...row, visible: drawVisible(unitsOfRow(row), hide, rng) };
  }

  /** The picture as it is. */
  plainImage(example: SampleExample): PictureRow {
    return { kind: "picture", image: this.picture(example) };
  }

  /**
   * The example's text, or with `byLabel` the name of its class, if it has one. Cut to the tower's length; each text
   * is tokenised once.
   */
  text(example: SampleExample, byLabel = false): TextRow {
    const text =
      byLabel && example.label !== undefined
        ? labelText(example.label)
        : present(example.text, "a text row has text");
    let ids = this.ids.get(text);
    if (ids === undefined) {
      const { tokenizer, encoder } = this.context;
      assert(tokenizer !== undefined, "an objective on text is given a tokenizer");
      const all = tokenizer.encode(text);
      ids = all.subarray(0, encoder.text?.maxTokens ?? all.length);
      this.ids.set(text, ids);
    }
    return { kind: "text", ids };
  }

  private picture(example: SampleExample): Image {
    const { images } = this.context;
    assert(images !== undefined, "an objective on pictures is given the decoded pictures");
    return images.get(example.id);
  }
}
