/**
 * TF-IDF of words and word pairs: the floor for text. Fitted on training texts, rows of length 1.
 * Source: scikit-learn's TfidfVectorizer(ngram_range=(1, 2)) with its defaults, which the test compares with:
 * lower case, words of two or more letters or digits, idf = ln((1 + n) / (1 + df)) + 1.
 */
import type { SparseMatrix } from "./matrix.ts";

export class TfIdf {
  readonly dimension: number;
  private readonly columns: ReadonlyMap<string, number>;
  private readonly idf: Float64Array;

  private constructor(columns: ReadonlyMap<string, number>, idf: Float64Array) {
    this.columns = columns;
    this.idf = idf;
    this.dimension = columns.size;
  }

  static fit(texts: readonly string[]): TfIdf {
    const documentCounts = new Map<string, number>();
    for (const text of texts) {
      for (const term of new Set(terms(text))) {
        documentCounts.set(term, (documentCounts.get(term) ?? 0) + 1);
      }
    }
    const vocabulary = [...documentCounts.keys()].sort();
    const idf = Float64Array.from(
      vocabulary,
      (term) => Math.log((1 + texts.length) / (1 + (documentCounts.get(term) ?? 0))) + 1,
    );
    return new TfIdf(new Map(vocabulary.map((term, column) => [term, column])), idf);
  }

  /** A row per text, of length 1; terms never seen in training are nothing, a text of only such is a row of zeros. */
  transform(texts: readonly string[]): SparseMatrix {
    const offsets = new Int32Array(texts.length + 1);
    const columns: number[] = [];
    const values: number[] = [];
    texts.forEach((text, i) => {
      const counts = new Map<number, number>();
      for (const term of terms(text)) {
        const column = this.columns.get(term);
        if (column !== undefined) counts.set(column, (counts.get(column) ?? 0) + 1);
      }
      const row = [...counts]
        .map(([column, count]) => [column, count * (this.idf[column] ?? 0)] as const)
        .sort((a, b) => a[0] - b[0]);
      const length = Math.sqrt(row.reduce((sum, [, weight]) => sum + weight ** 2, 0));
      for (const [column, weight] of row) {
        columns.push(column);
        values.push(weight / length);
      }
      offsets[i + 1] = columns.length;
    });
    return {
      kind: "sparse",
      count: texts.length,
      dimension: this.dimension,
      offsets,
      columns: Int32Array.from(columns),
      values: Float32Array.from(values),
    };
  }
}

/** Words, then neighbouring pairs of words. */
export function terms(text: string): string[] {
  // Python's \w is letters, marks within words aside, digits and the underscore of any script.
  const words = text.toLowerCase().match(/[\p{L}\p{N}_]{2,}/gu) ?? [];
  return [...words, ...words.slice(1).map((word, i) => `${words[i] ?? ""} ${word}`)];
}
