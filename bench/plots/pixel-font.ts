/**
 * Lettering without fonts: a slim container has none, and a renderer then draws empty boxes. The classic 5×7 dot
 * letters of character displays stand in, for ASCII and the few signs that our plots use.
 */

/** Five columns a letter, two hex digits each, lowest bit on top; ASCII 32 … 126 in order. */
const COLUMNS = [
  "0000000000 00005f0000 0007000700 147f147f14 242a7f2a12 2313086462 3649562050 0005030000", //  !"#$%&'
  "001c224100 0041221c00 14083e0814 08083e0808 0050300000 0808080808 0060600000 2010080402", // ()*+,-./
  "3e5149453e 00427f4000 4261514946 2141454b31 1814127f10 2745454539 3c4a494930 0171090503", // 01234567
  "3649494936 064949291e 0036360000 0056360000 0814224100 1414141414 0041221408 0201510906", // 89:;<=>?
  "324979413e 7e1111117e 7f49494936 3e41414122 7f4141221c 7f49494941 7f09090901 3e4149497a", // @ABCDEFG
  "7f0808087f 00417f4100 2040413f01 7f08142241 7f40404040 7f020c027f 7f0408107f 3e4141413e", // HIJKLMNO
  "7f09090906 3e4151215e 7f09192946 4649494931 01017f0101 3f4040403f 1f2040201f 3f4038403f", // PQRSTUVW
  "6314081463 0708700807 6151494543 007f414100 0204081020 0041417f00 0402010204 4040404040", // XYZ[\]^_
  "0001020400 2054545478 7f48444438 3844444420 384444487f 3854545418 087e090102 0c5252523e", // `abcdefg
  "7f08040478 00447d4000 2040443d00 7f10284400 00417f4000 7c04180478 7c08040478 3844444438", // hijklmno
  "7c14141408 081414187c 7c08040408 4854545420 043f444020 3c4040207c 1c2040201c 3c4030403c", // pqrstuvw
  "4428102844 0c5050503c 4464544c44 0008364100 00007f0000 0041360800 1008081008", // xyz{|}~
]
  .join(" ")
  .split(" ");

const OWN: Readonly<Record<string, string>> = { "→": "08082a1c08", "±": "44445f4444" };
const UNKNOWN = "7f4141417f";

/** How else a sign may be written. */
const SPELLED: Readonly<Record<string, string>> = {
  "−": "-",
  "–": "-",
  "—": "-",
  "½": "1/2",
  "×": "x",
  "…": "...",
  "·": ".",
  "“": '"',
  "”": '"',
  "‘": "'",
  "’": "'",
};

const ROWS = 7;
/** Columns from one letter to the next. */
const ADVANCE = 6;
/** The letters are as wide as `textWidth` supposes: 0.58 of their size. */
const DOT = 0.58 / ADVANCE;

/** A drawing of svg.ts with every text as dots. */
export function withPixelText(svg: string): string {
  return svg.replaceAll(
    /<text([^>]*)>([^<]*)<\/text>/g,
    (_whole, attributes: string, content: string) => {
      const attribute = (name: string): string | undefined =>
        new RegExp(` ${name}="([^"]*)"`).exec(attributes)?.[1];
      const size = Number(attribute("font-size") ?? 12);
      const letters = lettersOf(unescape(content));
      const dot = DOT * size;
      const width = letters.length * ADVANCE * dot;
      const anchor = attribute("text-anchor");
      const shift = anchor === "end" ? width - dot : anchor === "middle" ? width / 2 : 0;
      const left = Number(attribute("x")) - shift;
      const top = Number(attribute("y")) - ROWS * dot;
      const bold = attribute("font-weight") !== undefined ? 1.45 : 1.1; // dots overlap, so that no gaps show
      const data = letters
        .map((letter, at) => dots(letter, { left: left + at * ADVANCE * dot, top, dot, bold }))
        .join("");
      return data === "" ? "" : `<path d="${data}" fill="${attribute("fill") ?? "#000000"}"/>`;
    },
  );
}

/** The columns of each letter that `text` is written with; marks above letters are left out. */
function lettersOf(text: string): string[] {
  const spelled = Array.from(text, (character) => SPELLED[character] ?? character).join("");
  const plain = spelled.normalize("NFKD").replaceAll(/\p{Mark}/gu, "");
  return Array.from(plain, (character) => {
    const code = character.codePointAt(0) ?? 0;
    return OWN[character] ?? COLUMNS[code - 32] ?? UNKNOWN;
  });
}

/** Path data: one rectangle for each vertical run of dots. */
function dots(
  columns: string,
  at: { readonly left: number; readonly top: number; readonly dot: number; readonly bold: number },
): string {
  let data = "";
  for (let column = 0; column < 5; column++) {
    const bits = Number.parseInt(columns.slice(2 * column, 2 * column + 2), 16);
    for (let row = 0; row < ROWS; row++) {
      if (((bits >> row) & 1) === 0) continue;
      const first = row;
      while (((bits >> (row + 1)) & 1) === 1 && row + 1 < ROWS) row++;
      const x = (at.left + column * at.dot).toFixed(2);
      const y = (at.top + first * at.dot).toFixed(2);
      const width = (at.dot * at.bold).toFixed(2);
      data += `M${x} ${y}h${width}v${((row - first + 1.1) * at.dot).toFixed(2)}h-${width}z`;
    }
  }
  return data;
}

function unescape(content: string): string {
  return content
    .replaceAll("&lt;", "<")
    .replaceAll("&gt;", ">")
    .replaceAll("&quot;", '"')
    .replaceAll("&amp;", "&");
}
