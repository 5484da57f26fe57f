/** The whole judgement of one encoder on one dataset: its numbers beside the floors, as one document. */
import { assert } from "../../base/errors.ts";
import type { Progress } from "../../base/progress.ts";
import type { Dataset, Split } from "../../datasets/dataset.ts";
import type { ImageStore } from "../../datasets/image-store.ts";
import { loadImages } from "../../datasets/images.ts";
import type { EncoderConfig, ImageTowerConfig } from "../../models/config.ts";
import type { EncoderSession } from "../../models/session.ts";
import { MASKS_DEFAULT } from "../../tokenizers/mask.ts";
import { DIFFERENTIAL_ROWS_MAX, encodeSelection } from "./encode.ts";
import { measureFloors } from "./floors.ts";
import { NEIGHBOR_COUNT, TEMPERATURE } from "./knn.ts";
import { measureSpace, type CutMetrics, type Space, type SpaceMetrics } from "./measure.ts";
import { PROBE_C } from "./probe.ts";
import {
  selectRows,
  type JudgedModality,
  type Row,
  type Rows,
  type Selection,
} from "./selection.ts";
import { storedSpace, type StoredEmbeddings } from "./stored.ts";

/** What `soma evaluate --json` prints. Names are stable; shares are 0 … 1; what does not apply is absent. */
export interface Evaluation {
  readonly schemaVersion: 1;
  readonly encoder: {
    readonly name: string;
    readonly dimension: number;
    /** Prefix lengths judged, ascending. */
    readonly cuts: readonly number[];
    /** Of the checkpoint; absent for stored embeddings. */
    readonly digest?: string;
  };
  readonly dataset: {
    readonly name: string;
    readonly digest: string;
    readonly split: Split;
    readonly labels: readonly string[];
    /** Rows used, by modality. */
    readonly rows: Readonly<
      Partial<
        Record<
          JudgedModality,
          { readonly fit: number; readonly test: number; readonly variants: readonly string[] }
        >
      >
    >;
  };
  readonly protocol: {
    readonly knn: { readonly k: number; readonly temperature: number };
    readonly probe: { readonly c: number };
    readonly differential: { readonly masks: number; readonly rowsMax: number };
  };
  /** The encoder's own numbers at its full dimension: the last cut of the first result. */
  readonly metrics: CutMetrics;
  /** The encoder first, then the floors. */
  readonly results: readonly SpaceMetrics[];
  /** What was left out, in sentences. */
  readonly notes: readonly string[];
  readonly seconds: number;
}

export interface EvaluateOptions {
  readonly dataset: Dataset;
  readonly split: Split;
  readonly floors: boolean;
  readonly limit?: number;
  readonly textVariants?: readonly string[];
  /** Leave out pictures that cannot be decoded instead of throwing. */
  readonly skipCorrupt?: boolean;
  /** Progress of decoding pictures. */
  readonly progress?: Progress;
  /** Called when a stage begins. */
  readonly onStage?: (stage: string) => void;
}

/** What judged the numbers, kept for plots. */
export interface Evaluated {
  readonly evaluation: Evaluation;
  readonly selection: Selection;
  readonly space: Space;
  readonly images: ImageStore | undefined;
}

/** Judge an open checkpoint. @throws SomaError as `selectRows`, `loadImages` and the encoder */
export async function evaluateSession(
  session: EncoderSession,
  options: EvaluateOptions,
): Promise<Evaluated> {
  const startedMs = performance.now();
  const { onStage } = options;
  const { selection, images } = await withImages(
    selectRows(options.dataset, { ...selectionOptions(options), modalities: session.modalities }),
    session.config.image,
    options,
  );
  const space = await encodeSelection(session, selection, {
    name: session.checkpoint?.name ?? "encoder",
    kind: "encoder",
    images,
    ...(onStage === undefined ? {} : { onStage }),
  });
  const digest = session.checkpoint?.digest;
  return finish({ space, selection, images, startedMs }, options, {
    config: session.config,
    ...(digest === undefined ? {} : { digest }),
  });
}

/** How the picture floors of stored embeddings see pictures: 64×64 pixels for a square one, cut to the ink, where they do best. */
const STORED_PICTURES = { maxPatches: 16, trim: true } as const;

/** Judge embeddings read from files. @throws SomaError as `selectRows` and `storedSpace` */
export async function evaluateStored(
  stored: StoredEmbeddings,
  named: { readonly name: string; readonly cuts: readonly number[] },
  options: EvaluateOptions,
): Promise<Evaluated> {
  const startedMs = performance.now();
  const modalities = (["image", "text"] as const).filter(
    (modality) => stored.vectors[modality] !== undefined,
  );
  const all = selectRows(options.dataset, { ...selectionOptions(options), modalities });
  const { selection, images } = await withImages(
    all,
    options.floors ? STORED_PICTURES : undefined,
    options,
  );
  const judged = storedSpace(stored, selection, named);
  return finish({ ...judged, images, startedMs }, options, {});
}

async function finish(
  judged: Omit<Evaluated, "evaluation"> & { readonly startedMs: number },
  options: EvaluateOptions,
  about: { readonly config?: EncoderConfig; readonly digest?: string },
): Promise<Evaluated> {
  const { space, selection, images, startedMs } = judged;
  options.onStage?.("metrics");
  const own = await measureSpace(space, selection);
  const floors = options.floors
    ? await measureFloors({
        selection,
        ...(about.config === undefined ? {} : { config: about.config }),
        ...(images === undefined ? {} : { images }),
        onCompute: (name) => options.onStage?.(`floor ${name}`),
      })
    : [];
  const metrics = own.cuts.at(-1);
  assert(metrics !== undefined, "a space has at least one cut");
  const { dataset, split, rows } = selection;
  const evaluation: Evaluation = {
    schemaVersion: 1,
    encoder: {
      name: space.name,
      dimension: space.dimension,
      cuts: space.cuts,
      ...(about.digest === undefined ? {} : { digest: about.digest }),
    },
    dataset: {
      name: dataset.name,
      digest: dataset.digest,
      split,
      labels: dataset.labels,
      rows: Object.fromEntries(
        Object.entries(rows).map(([modality, { fit, test, variants }]) => [
          modality,
          { fit: fit.length, test: test.length, variants },
        ]),
      ),
    },
    protocol: {
      knn: { k: NEIGHBOR_COUNT, temperature: TEMPERATURE },
      probe: { c: PROBE_C },
      differential: { masks: MASKS_DEFAULT, rowsMax: DIFFERENTIAL_ROWS_MAX },
    },
    metrics,
    results: [own, ...floors],
    notes: selection.notes,
    seconds: (performance.now() - startedMs) / 1000,
  };
  return { evaluation, selection, space, images };
}

function selectionOptions(options: EvaluateOptions): {
  readonly split: Split;
  readonly limit?: number;
  readonly textVariants?: readonly string[];
} {
  const { split, limit, textVariants } = options;
  return {
    split,
    ...(limit === undefined ? {} : { limit }),
    ...(textVariants === undefined ? {} : { textVariants }),
  };
}

/** The pictures of the selection, decoded, and the selection without those that were skipped. */
async function withImages(
  selection: Selection,
  tower: Pick<ImageTowerConfig, "maxPatches" | "trim"> | undefined,
  options: EvaluateOptions,
): Promise<{ readonly selection: Selection; readonly images: ImageStore | undefined }> {
  const rows = selection.rows.image;
  if (rows === undefined || tower === undefined) return { selection, images: undefined };
  const images = await loadImages(
    selection.dataset,
    [...rows.fit, ...rows.test].map(({ example }) => example),
    {
      maxPatches: tower.maxPatches,
      trim: tower.trim,
      skipCorrupt: options.skipCorrupt === true,
      ...(options.progress === undefined ? {} : { progress: options.progress }),
    },
  );
  if (images.skipped.length === 0) return { selection, images };
  const readable = ({ example }: Row): boolean => images.has(example.id);
  const image: Rows = {
    ...rows,
    fit: rows.fit.filter(readable),
    test: rows.test.filter(readable),
  };
  const skipped = images.skipped.map(({ id }) => id);
  return {
    images,
    selection: {
      ...selection,
      rows: { ...selection.rows, image },
      notes: [...selection.notes, `image: ${skipped.length} rows that cannot be decoded left out`],
      key: JSON.stringify([selection.key, skipped]),
    },
  };
}
