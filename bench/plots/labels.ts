/** Names as plots write them. */

/** "smileys-emotion" → "smileys emotion". */
export function displayLabel(label: string): string {
  return label.replaceAll(/[-_]+/g, " ");
}
