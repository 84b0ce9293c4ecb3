/**
 * Places in the authority's history: a number in the first epoch, `<epoch>:<number>` in later ones.
 *
 * The authority writes the epoch only in what is given back to it, such as `nextAfter`. What says where something stands
 * in the same history, such as the position of an item and `head`, is a number in every epoch.
 */

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

/** The place of this number in the history that another place names. Both are places. */
export function inHistoryOf(place: Position, position: Position): Position {
  const [[epoch], [, number]] = [placeOf(place) ?? [1, 0], placeOf(position) ?? [1, 0]];
  return epoch === 1 ? number : `${String(epoch)}:${String(number)}`;
}
