/**
 * One try of one renewal of a session in a file, in an order that loses nothing wherever it is cut off.
 *
 * 1. Take the lock. 2. Read the file: the process before may have renewed. 3. Write the idempotency key, unless one is
 * there: a renewal was begun, and this is its repeat. 4. Ask. 5. Write the new token. 6. Only now use it.
 *
 * Cut off before 4, the key is repeated and nothing was granted yet. Cut off after it, the key and the old token are in
 * the file, and no token of the new generation was used by anyone: the repeat is answered with one.
 */

import { freshKey, type Client } from "../client.js";
import { RefusedError } from "../errors.js";
import { isDue, renewedGrant, type Grant } from "./grant.js";
import { SessionFile, type LockedFile } from "./session-file.js";
import type { LockMethod } from "./lock.js";

/**
 * When to ask: `due` when it is time; `settled` when a renewal was begun, to get its answer; `replaced` in any case, if
 * the file still has a token that was replaced: if nothing was begun there, some other holder renewed the session, and to
 * ask is how the authority hears of the second one.
 */
export type Want = "due" | "settled" | "replaced";

/**
 * Renews the session in a file now, or finishes the renewal that was begun there; the file then holds the new token.
 *
 * While this fails for the moment, call it again: it is the same renewal. If another program renewed the session a
 * moment ago, this waits for the moment that the authority names (`renewal.reuse_grace`), and looks once more.
 */
export async function renewFile(client: Client, path: string, lock: LockMethod = "auto"): Promise<Grant> {
  const file = new SessionFile(path, lock);
  let seen = "";
  try {
    return await file.locked((locked) => {
      const grant = locked.read();
      seen = grant.token;
      return attempt(client, locked, grant);
    });
  } catch (error) {
    const again = error instanceof RefusedError ? error.asksOnceMoreAt : undefined;
    if (again === undefined) throw error;
    await client.time.until(again);
    return await step(client, file, seen, "replaced");
  }
}

/**
 * What the file holds after this process, or another one before it, did what was wanted. `seen` is the token that this
 * process has: another one in the file is news enough.
 */
export async function step(client: Client, file: SessionFile, seen: string, want: Want): Promise<Grant> {
  return await file.locked(async (locked) => {
    const grant = locked.read();
    const isNews = grant.token !== seen;
    return isNews || !isWanted(grant, want, client.time.now()) ? grant : await attempt(client, locked, grant);
  });
}

function isWanted(grant: Grant, want: Want, now: number): boolean {
  switch (want) {
    case "due":
      return isDue(grant, now);
    case "settled":
      return grant.renewalKey !== null;
    case "replaced":
      return true;
  }
}

async function attempt(client: Client, locked: LockedFile, present: Grant): Promise<Grant> {
  const { grant, key } = await begun(locked, present);
  try {
    const renewed = await client.with({ credential: grant.token }).renewSession(grant.sessionId, key);
    const next = renewedGrant(grant, renewed);
    await locked.write(next);
    return next;
  } catch (error) {
    const next = afterRefusal(grant, error);
    if (next !== undefined) await locked.write(next);
    throw error;
  }
}

/** The same grant with the key of its renewal, which is on disk when this resolves. */
async function begun(locked: LockedFile, grant: Grant): Promise<{ grant: Grant; key: string }> {
  if (grant.renewalKey !== null) return { grant, key: grant.renewalKey };
  const key = freshKey();
  const next = { ...grant, renewalKey: key };
  await locked.write(next);
  return { grant: next, key };
}

/** What a refusal makes of a grant whose session goes on; undefined when it does not, or the outcome is unknown. */
export function afterRefusal(grant: Grant, error: unknown): Grant | undefined {
  if (!(error instanceof RefusedError)) return undefined;
  const nothingBegun: Grant = { ...grant, renewalKey: null };
  switch (error.code) {
    case "RENEWAL_TOO_EARLY":
      return { ...nothingBegun, renewAt: error.problem.retryAt ?? grant.renewAt };
    case "RENEWAL_LIMIT_REACHED":
    case "SESSION_ABSOLUTE_LIFETIME_EXCEEDED":
      return { ...nothingBegun, renewAt: null };
    case "IDEMPOTENCY_KEY_REUSED":
      // The key belongs to an earlier renewal: a file put back from a backup. The next try has a fresh one.
      return nothingBegun;
    default:
      return undefined;
  }
}
