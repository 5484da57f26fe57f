/** NumPy's .npy format, version 1.0, for one matrix of float32. Source: numpy.lib.format. */
import { assert } from "../base/errors.ts";

const MAGIC = Uint8Array.of(0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0); // \x93NUMPY, version 1.0
/** The data begins at a multiple of this. */
const ALIGNMENT = 64;

export interface Matrix {
  /** Float32Array [rowCount × columnCount], row-major. */
  readonly values: Float32Array;
  readonly rowCount: number;
  readonly columnCount: number;
}

/** The bytes of a .npy file: `numpy.load` gives float32 [rowCount, columnCount]. */
export function writeNpy({ values, rowCount, columnCount }: Matrix): Uint8Array {
  assert(
    values.length === rowCount * columnCount,
    `${values.length} values do not fill ${rowCount} × ${columnCount}`,
  );
  const text = `{'descr': '<f4', 'fortran_order': False, 'shape': (${rowCount}, ${columnCount}), }`;
  const unpadded = MAGIC.length + 2 + text.length + 1;
  const headBytes = Math.ceil(unpadded / ALIGNMENT) * ALIGNMENT;
  const header = `${text}${" ".repeat(headBytes - unpadded)}\n`;
  const file = new Uint8Array(headBytes + 4 * values.length);
  const view = new DataView(file.buffer);
  file.set(MAGIC);
  view.setUint16(MAGIC.length, header.length, true);
  file.set(new TextEncoder().encode(header), MAGIC.length + 2);
  for (const [index, value] of values.entries())
    view.setFloat32(headBytes + 4 * index, value, true);
  return file;
}
