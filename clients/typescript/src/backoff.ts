/** How long to wait before the next try of what failed for the moment. */

/** The first wait at its longest. */
const FIRST = 1_000;
/** The shortest session has a minute from its latest `renewAt` to its end, so no wait of our own is longer. */
const LONGEST = 20_000;
/** What the authority asks for by `Retry-After` is granted up to so much. */
const LONGEST_WISH = 60_000;

/** The wait after so many failures in a row, in milliseconds: doubling, half of it at random. */
export function backoff(failures: number, wish = 0, chance = Math.random(), longest = LONGEST): number {
  const step = Math.min(FIRST * 2 ** Math.min(Math.max(failures - 1, 0), 16), longest);
  return Math.max(step / 2 + (step / 2) * chance, Math.min(wish, LONGEST_WISH));
}
