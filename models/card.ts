/**
 * The model card: README.md of a checkpoint, with the YAML front matter that model hubs read.
 * Source: Hugging Face "Model Cards", metadata of the card and of `model-index`.
 */
import { SOMA_VERSION } from "../base/version.ts";
import type { EncoderConfig } from "./config.ts";

/** What a run knows of the model that it saves. */
export interface ModelCard {
  /** What clients call the model, e.g. "emoji-image-text"; one line. */
  readonly name: string;
  /** One or two sentences for people. */
  readonly summary?: string;
  /** SPDX identifier of the weights' licence, in lower case as hubs write it. Default "apache-2.0". */
  readonly license?: string;
  readonly tags?: readonly string[];
  readonly datasets?: readonly CardDataset[];
  readonly training?: CardTraining;
  readonly metrics?: readonly CardMetric[];
}

export interface CardDataset {
  readonly name: string;
  /** Licence and credits of the data, one line. */
  readonly licence: string;
  /** SHA-256 hex of what was trained on. */
  readonly digest: string;
}

export interface CardTraining {
  readonly recipe: string;
  readonly seed: number;
  readonly steps: number;
  readonly seconds: number;
  /** e.g. "TensorFlow 2.21.0, 2 threads" */
  readonly backend: string;
}

export interface CardMetric {
  /** e.g. "R@10, same emoji in another drawing" */
  readonly name: string;
  readonly value: number;
  /** e.g. "emoji, test split" */
  readonly on: string;
  /** The best baseline without training, where one applies. */
  readonly floor?: number;
}

/** The card as Markdown, ending in a newline. */
export function renderCard(card: ModelCard, config: EncoderConfig): string {
  const sections = [
    frontMatter(card, config),
    `# ${card.name}`,
    card.summary ?? `An encoder of ${modalities(config).join(" and ")} made with Soma.`,
    facts(config),
    metrics(card),
    training(card),
    use(card, config),
  ];
  return `${sections.filter((section) => section !== "").join("\n\n")}\n`;
}

/** Modalities that the encoder has a tower for. */
export function modalities(config: EncoderConfig): readonly ("image" | "text")[] {
  return (["image", "text"] as const).filter((modality) => config[modality] !== undefined);
}

/** Every string in double quotes with JSON's escapes, which YAML 1.2 reads as the same string. */
function frontMatter(card: ModelCard, config: EncoderConfig): string {
  const tags = ["soma", "embeddings", ...modalities(config), ...(card.tags ?? [])];
  const list = (items: readonly string[], indent = "  "): string =>
    [...new Set(items)].map((item) => `\n${indent}- ${JSON.stringify(item)}`).join("");
  const lines = [
    `license: ${JSON.stringify(card.license ?? "apache-2.0")}`,
    `library_name: "soma"`,
    `pipeline_tag: "feature-extraction"`,
    `tags:${list(tags)}`,
  ];
  const datasets = card.datasets ?? [];
  if (datasets.length > 0) lines.push(`datasets:${list(datasets.map(({ name }) => name))}`);
  const measured = card.metrics ?? [];
  if (measured.length > 0) {
    lines.push(`metrics:${list(measured.map(({ name }) => name))}`);
    lines.push(`model-index:\n  - name: ${JSON.stringify(card.name)}\n    results:`);
    for (const { name, value, on } of measured) {
      lines.push(
        `      - task: { type: "feature-extraction" }\n` +
          `        dataset: { name: ${JSON.stringify(on)}, type: ${JSON.stringify(on)} }\n` +
          `        metrics: [{ type: ${JSON.stringify(name)}, value: ${JSON.stringify(value)} }]`,
      );
    }
  }
  return `---\n${lines.join("\n")}\n---`;
}

function facts(config: EncoderConfig): string {
  const rows = [
    ["Inputs", modalities(config).join(", ")],
    ["Dimension", String(config.dimension)],
    ["Matryoshka cuts", config.matryoshka.join(", ")],
    ["Soma", SOMA_VERSION],
  ];
  return markdownTable(["", ""], rows);
}

function metrics(card: ModelCard): string {
  const measured = card.metrics ?? [];
  if (measured.length === 0) return "";
  const rows = measured.map(({ name, value, on, floor }) => [
    name,
    on,
    value.toFixed(2),
    floor === undefined ? "" : floor.toFixed(2),
  ]);
  return `## Metrics\n\n${markdownTable(["metric", "on", "value", "best floor"], rows)}`;
}

function training(card: ModelCard): string {
  const parts: string[] = [];
  if (card.training !== undefined) {
    const { recipe, seed, steps, seconds, backend } = card.training;
    parts.push(
      `Recipe \`${recipe}\`, seed ${seed}: ${steps} steps in ${seconds.toFixed(1)} s on ${backend}.`,
    );
  }
  for (const { name, licence, digest } of card.datasets ?? []) {
    parts.push(`Data: ${name} (${licence}), SHA-256 \`${digest}\`.`);
  }
  return parts.length === 0 ? "" : `## Training\n\n${parts.join("\n\n")}`;
}

function use(card: ModelCard, config: EncoderConfig): string {
  const input = config.text === undefined ? `[{ image: base64 }]` : `["a smiling cat"]`;
  return `## Use

\`\`\`sh
npx soma serve FOLDER            # the OpenAI API at http://127.0.0.1:8080/v1
npx soma embed FOLDER --manifest data.jsonl --out embeddings.jsonl
\`\`\`

\`\`\`js
const client = new OpenAI({ baseURL: "http://127.0.0.1:8080/v1", apiKey: "none" });
await client.embeddings.create({ model: ${JSON.stringify(card.name)}, input: ${input} });
\`\`\`

Compare embeddings by cosine. The first ${config.matryoshka.join(", ")} values stand alone once scaled to length 1.`;
}

function markdownTable(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell) => cell.replaceAll("|", "\\|").replaceAll(/\s+/g, " ")).join(" | ")} |`;
  return [line(header), line(header.map(() => "---")), ...rows.map(line)].join("\n");
}
