/** A label as one would write it: "smileys-emotion" → "smileys emotion". */
export function labelText(label: string): string {
  const words = label.replaceAll(/[-_/.]+/g, " ").trim();
  return words === "" ? label : words; // a label of signs alone stays what it is
}
