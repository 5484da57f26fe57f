/** Drawings as files: each as SVG and as PNG. */
import { join } from "node:path";
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
    await writeFileAtomic(
      pngPath,
      await svgToPng(fonts ? svg : withPixelText(svg), PNG_SCALE * widthOf(svg)),
    );
    paths.push(svgPath, pngPath);
  }
  const notes = fonts
    ? []
    : [
        "this machine has no font: the PNG plots have dot letters, the SVG files real text (Debian: apt install fonts-dejavu-core)",
      ];
  return { paths, notes };
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
