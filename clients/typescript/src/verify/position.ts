/** Places in the authority's history: a number in the first epoch, `<epoch>:<number>` in later ones. */

/** A place as the API writes it. */
export type Position = number | string;

/** The place before everything. */
export const BEGINNING: Position = 0;

/** Epoch and number; undefined for what is no place. */
export function placeOf(position: unknown): readonly [number, number] | undefined {
  const match = /^(?:(\d+):)?(\d+)$/.exec(
    typeof position === "number" ? String(position) : typeof position === "string" ? position : "",
  );
  return match === null ? undefined : [Number(match[1] ?? 1), Number(match[2])];
}

/** Less than 0 when `one` comes first. Both are places. */
export function compare(one: Position, other: Position): number {
  const [a, b] = [placeOf(one), placeOf(other)];
  if (a === undefined || b === undefined) return Number.NaN;
  return a[0] === b[0] ? a[1] - b[1] : a[0] - b[0];
}
