/**
 * Where the reading of the feed stands. Pure.
 *
 * An authority that was put back from a backup goes on in another way: what it revokes then stands at positions that
 * were read before. So from time to time, and after every silence, a reading looks back: it begins one revocation before
 * the end of the last one that did, and expects to find that very revocation there. Where it does not, all is read again.
 */

import { BEGINNING, compare, inHistoryOf, placeOf, type Position } from "./position.js";
import type { FeedItem, FeedPage } from "./wire.js";

export class Reading {
  /** Everything up to it was read. */
  end: Position = BEGINNING;
  /**
   * The last revocation of the last reading that looked back. Readings that do not look back leave it as it is, for they
   * may have gone on in another history.
   */
  #last: FeedItem | undefined;

  /** Where to begin to look back. */
  get beforeLast(): Position {
    return this.#last === undefined ? BEGINNING : before(this.#last.position);
  }

  /** Whether nothing was read yet. */
  get isNew(): boolean {
    return this.#last === undefined && compare(this.end, BEGINNING) === 0;
  }

  /** Whether a page that begins before the last revocation is of the history that was read. */
  goesOnWith(page: FeedPage): boolean {
    if (compare(page.head, this.end) < 0) return false;
    const [first] = page.items;
    if (this.#last === undefined) return true;
    return first?.at === this.#last.at && compare(first.position, this.#last.position) === 0;
  }

  /** Notes how far it came, and whether it had looked back. */
  note(page: FeedPage, looksBack: boolean): void {
    this.end = page.nextAfter;
    this.#last = (looksBack ? page.items.at(-1) : undefined) ?? this.#last;
  }
}

/** The place before this one, in the same epoch. */
function before(position: Position): Position {
  const [, number] = placeOf(position) ?? [1, 0];
  return inHistoryOf(position, Math.max(number - 1, 0));
}
