/**
 * What an objective compares: rows of one group, as token sequences. Which groups make up a step, which of their
 * rows and which augmentation are functions of (seed, step), so a resumed run sees what it would have seen.
 */
import { assert, present, SomaError } from "../../base/errors.ts";
import { byGroup, GroupSampler } from "../../datasets/batch.ts";
import type { Example } from "../../datasets/dataset.ts";
import { labelText } from "../../datasets/label-text.ts";
import type { Rng } from "../../tokenizers/random.ts";
import { patchify } from "../../tokenizers/image/patches.ts";
import { unitCount, type MaskedTokens, type TokenSequence } from "../../tokenizers/tokenizer.ts";
import { augment, drawVisible, type AugmentSettings } from "../augment.ts";
import type { ObjectiveContext } from "../objective.ts";

export type ViewModality = "image" | "text";

/** Training groups that have at least `rowsMin` rows with each of `modalities`. */
export class Groups {
  private readonly rows: ReadonlyMap<string, readonly Example[]>;
  private readonly sampler: GroupSampler;

  constructor(context: ObjectiveContext, needs: Readonly<Partial<Record<ViewModality, number>>>) {
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
          ? "give rows that belong together the same group, or compare two views of each row: --set objectives.contrastive.from=augment"
          : "give rows that belong together the same group, or choose another objective",
      });
    }
    this.sampler = new GroupSampler([...this.rows.keys()], context.seed, context.batchSize);
  }

  /** The groups of a step, each with its rows: every group once a pass. */
  at(step: number): readonly (readonly Example[])[] {
    return this.sampler.at(step).map((name) => present(this.rows.get(name), "rows of a group"));
  }
}

/** `count` rows of a group in random order; fewer rows than that are used again. */
export function drawRows(rows: readonly Example[], count: number, rng: Rng): readonly Example[] {
  const order = rng.sample(rows.length, Math.min(count, rows.length));
  return Array.from({ length: count }, (_, i) =>
    present(rows[present(order[i % order.length], "a row was drawn")], "a row of the group"),
  );
}

export function hasModality(example: Example, modality: ViewModality): boolean {
  return modality === "image" ? example.image !== undefined : example.text !== undefined;
}

/** Turns rows into token sequences, pictures augmented. */
export class Tokens {
  private readonly context: ObjectiveContext;
  private readonly augmentation: AugmentSettings;
  private readonly ids = new Map<string, TokenSequence>();

  constructor(context: ObjectiveContext, augmentation: AugmentSettings) {
    this.context = context;
    this.augmentation = augmentation;
  }

  image(example: Example, rng: Rng): MaskedTokens {
    const tokens = augment(this.picture(example), this.augmentation, rng);
    const { hide } = this.augmentation;
    return hide === 0 ? { tokens } : { tokens, visible: drawVisible(unitCount(tokens), hide, rng) };
  }

  /** The picture as it is. */
  plainImage(example: Example): TokenSequence {
    return patchify(this.picture(example));
  }

  /**
   * The row's text, or with `byLabel` the name of its class, if it has one. Cut to the tower's length; each text is
   * tokenised once.
   */
  text(example: Example, byLabel = false): TokenSequence {
    const text =
      byLabel && example.label !== undefined
        ? labelText(example.label)
        : present(example.text, "a text row has text");
    let tokens = this.ids.get(text);
    if (tokens === undefined) {
      const { tokenizer, encoder } = this.context;
      assert(tokenizer !== undefined, "an objective on text is given a tokenizer");
      const ids = tokenizer.encode(text);
      const maxTokens = encoder.config.text?.maxTokens ?? ids.length;
      tokens = { kind: "ids", modality: "text", ids: ids.subarray(0, maxTokens) };
      this.ids.set(text, tokens);
    }
    return tokens;
  }

  private picture(example: Example) {
    const { images } = this.context;
    assert(images !== undefined, "an objective on pictures is given the decoded pictures");
    return images.get(example.id);
  }
}
