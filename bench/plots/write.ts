/** Drawings as files: each as SVG and as PNG. */
import { extname, join } from "node:path";
import { SomaError } from "../../base/errors.ts";
import { writeFileAtomic } from "../../base/files.ts";
import { svgToPng } from "../../tokenizers/image/decode.ts";
import { withPixelText } from "./pixel-font.ts";

/** Pixels of a PNG per unit of its drawing. */
const PNG_SCALE = 2;

export interface Drawn {
  readonly paths: readonly string[];
  /** What could not be drawn and why, in sentences. */
  readonly notes: readonly string[];
}

/**
 * One drawing as the file that its name says: .svg or .png.   @returns what to tell of it, in sentences
 * @throws SomaError FORMAT_UNKNOWN (usage), DISK_FULL, WRITE_FAILED
 */
export async function writePlot(path: string, svg: string): Promise<readonly string[]> {
  requirePlotName(path);
  if (extname(path).toLowerCase() === ".svg") {
    await writeFileAtomic(path, svg);
    return [];
  }
  const fonts = await drawsText();
  await writeFileAtomic(path, await toPng(svg, fonts));
  return fonts ? [] : [NO_FONT];
}

/** @throws SomaError FORMAT_UNKNOWN (usage) unless `path` ends in .svg or .png: asked before the work is done */
export function requirePlotName(path: string): void {
  if (/\.(svg|png)$/i.test(path)) return;
  throw new SomaError({
    code: "FORMAT_UNKNOWN",
    kind: "usage",
    what: `${path} ends neither in .svg nor in .png`,
    next: "give a name such as plot.svg",
  });
}

/** @param plots  SVG by name of file  @throws SomaError DISK_FULL, WRITE_FAILED */
export async function writePlots(
  folder: string,
  plots: ReadonlyMap<string, string>,
): Promise<Drawn> {
  const fonts = await drawsText();
  const paths: string[] = [];
  for (const [name, svg] of plots) {
    const svgPath = join(folder, `${name}.svg`);
    const pngPath = join(folder, `${name}.png`);
    await writeFileAtomic(svgPath, svg);
    await writeFileAtomic(pngPath, await toPng(svg, fonts));
    paths.push(svgPath, pngPath);
  }
  return { paths, notes: fonts ? [] : [NO_FONT] };
}

const NO_FONT =
  "this machine has no font: the PNG plots have dot letters, the SVG files real text (Debian: apt install fonts-dejavu-core)";

function toPng(svg: string, fonts: boolean): Promise<Uint8Array> {
  return svgToPng(fonts ? svg : withPixelText(svg), PNG_SCALE * widthOf(svg));
}

/** Does the PNG renderer find a font? Without one a letter leaves no ink, or the box of a missing glyph. */
export async function drawsText(): Promise<boolean> {
  const letter = async (content: string): Promise<Uint8Array> =>
    svgToPng(
      `<svg xmlns="http://www.w3.org/2000/svg" width="32" height="32"><text x="4" y="26" font-size="24" font-family="sans-serif">${content}</text></svg>`,
      32,
    );
  const [h, i] = [await letter("H"), await letter("i")];
  return Buffer.compare(h, i) !== 0;
}

function widthOf(svg: string): number {
  return Number(/width="(\d+)/.exec(svg)?.[1] ?? 800);
}
