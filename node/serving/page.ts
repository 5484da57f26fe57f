/**
 * The page at /: type words or drop a picture, see the nearest of the gallery; or compare two inputs. One HTML
 * document without outside resources, under a policy that allows its own script and style and nothing else.
 */
import { createHash } from "node:crypto";
import type { Gallery } from "../../models/gallery.ts";
import { PAGE_SCRIPT } from "./page-script.ts";
import { PAGE_STYLE } from "./page-style.ts";

export interface PageFacts {
  readonly model: string;
  readonly modalities: readonly ("image" | "text")[];
  readonly dimension: number;
  readonly gallery: Pick<Gallery, "name" | "credits" | "entries"> | undefined;
}

export interface Page {
  readonly html: string;
  readonly contentSecurityPolicy: string;
}

export function renderPage({ model, modalities, dimension, gallery }: PageFacts): Page {
  const reads = { text: modalities.includes("text"), image: modalities.includes("image") };
  const groups = new Set(gallery?.entries.map(({ group }) => group)).size;
  const lead =
    gallery === undefined
      ? `This model maps ${modalities.join(" and ")} to points of one space, ${dimension} numbers each. Compare any two.`
      : `${invitation(reads)} and see which of ${groups.toLocaleString("en")} ${escapeHtml(gallery.name)} concepts lie nearest.`;
  const html = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${escapeHtml(model)} · Soma</title>
<link rel="icon" href="data:,">
<style>${PAGE_STYLE}</style>
</head>
<body>
<header>
  <p class="brand">Soma <span class="model">${escapeHtml(model)}</span></p>
  <nav aria-label="Interfaces"><a href="/docs">API</a><a href="/metrics">Metrics</a></nav>
</header>
<main>
  <h1>${gallery === undefined ? "How near are two things?" : "What is it like?"}</h1>
  <p class="lead">${lead}</p>
  ${gallery === undefined ? comparePart(reads) : searchPart(reads)}
  <p id="status" class="status" role="status" aria-live="polite"></p>
  <ol id="results" class="results" aria-label="Nearest, the most alike first"></ol>
</main>
<footer>
  <p>${gallery === undefined ? "" : `${escapeHtml(gallery.credits)} `}Pictures you choose are sent to this server only, and not kept.</p>
</footer>
<script id="facts" type="application/json">${jsonForHtml({ model, gallery: gallery !== undefined })}</script>
<script type="module">${PAGE_SCRIPT}</script>
</body>
</html>
`;
  const policy = [
    "default-src 'none'",
    `script-src '${sourceHash(PAGE_SCRIPT)}'`,
    `style-src '${sourceHash(PAGE_STYLE)}'`,
    "img-src 'self' blob: data:",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ];
  return { html, contentSecurityPolicy: policy.join("; ") };
}

function invitation(reads: { readonly text: boolean; readonly image: boolean }): string {
  if (reads.text && reads.image) return "Type a word or drop a picture";
  return reads.text ? "Type a word" : "Drop a picture";
}

interface Reads {
  readonly text: boolean;
  readonly image: boolean;
}

function searchPart(reads: Reads): string {
  const examples = ["cat", "birthday party", "heavy rain", "I am tired", "music", "fruit"];
  const chips = reads.text
    ? `<p class="examples" aria-label="Examples">${examples
        .map((example) => `<button type="button" class="example">${example}</button>`)
        .join("")}</p>`
    : "";
  return `<form id="search" class="inputs">${input("query", reads, reads.text ? "Words" : "Picture")}</form>${chips}`;
}

function comparePart(reads: Reads): string {
  return `<form id="compare" class="inputs two">${input("first", reads, "First")}${input("second", reads, "Second")}</form>`;
}

/** A field for words beside a place for a picture; which one was used last counts. */
function input(id: string, reads: Reads, label: string): string {
  const words = reads.text
    ? `<label class="words"><span>${label}</span><input id="${id}-text" type="search" maxlength="2000" autocomplete="off" spellcheck="false" placeholder="e.g. a smiling cat"></label>`
    : "";
  const picture = reads.image
    ? `<label class="drop" data-for="${id}"><input id="${id}-file" type="file" accept="image/*"><img alt="" hidden><span class="hint"><strong>Choose a picture</strong><span class="can-drop">or drop or paste it here</span></span></label>`
    : "";
  return `<div class="input" data-input="${id}">${words}${picture}</div>`;
}

function sourceHash(text: string): string {
  return `sha256-${createHash("sha256").update(text).digest("base64")}`;
}

function escapeHtml(text: string): string {
  return text
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;");
}

/** JSON that no string in it can end the script element with. */
function jsonForHtml(value: unknown): string {
  return JSON.stringify(value).replaceAll("<", "\\u003c");
}
