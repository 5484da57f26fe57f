/** Flags of the speed benches, checked. */
import { SomaError } from "../../base/errors.ts";

/** @throws SomaError BAD_FLAG (usage) unless `text` is a whole number above 0 */
export function positiveInteger(text: string, flag: string): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value > 0) return value;
  throw badFlag(flag, text, "give a whole number above 0");
}

/** @throws SomaError BAD_FLAG (usage) unless `text` is one of `names` */
export function oneOf<T extends string>(text: string, flag: string, names: readonly T[]): T {
  const found = names.find((name) => name === text);
  if (found !== undefined) return found;
  throw badFlag(flag, text, `give one of ${names.join(", ")}`);
}

export function badFlag(flag: string, text: string, next: string): SomaError {
  return new SomaError({ code: "BAD_FLAG", kind: "usage", what: `${flag} is "${text}"`, next });
}
