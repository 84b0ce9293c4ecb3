/**
 * Holds the session of a file in Node: renewed in time, its token shared with every other process that uses the file,
 * whatever language that is written in. `docs/client.md` has the format and what is promised.
 *
 * ```ts
 * import { hold } from "@tenure/client/hold";
 *
 * const session = hold("agent-7.session");
 * await fetch("https://shop.example/orders", { headers: session.headers, signal: session.signal });
 * const end = await session.ended;
 * ```
 */

import type { NewSession } from "../api.js";
import { Client } from "../client.js";
import { createdGrant, type Grant } from "./grant.js";
import { SessionHolder, type HolderOptions } from "./holder.js";
import type { LockMethod } from "./lock.js";
import { SessionFile } from "./session-file.js";

export { describe, endedByOthers, type End } from "./end.js";
export type { Grant } from "./grant.js";
export type { HolderOptions, SessionHolder, SessionState } from "./holder.js";
export { LockError, type LockMethod } from "./lock.js";
export { renewFile } from "./renewal.js";
export { SessionFile, SessionFileError } from "./session-file.js";

/** A veto is noticed so soon where no stream can be opened. */
const CHECK_EVERY = 15_000;

export interface HoldOptions extends Partial<HolderOptions> {
  /** Asks whichever authority this client does, and not the one that the file names. */
  client?: Client;
  /** How the lock of the file is taken. */
  lock?: LockMethod;
  /** Send the token by `http` to other machines, too. Anyone who can listen on the way reads it. */
  allowPlaintext?: boolean;
}

/** Holds the session in this file, at the authority that the file names. */
export function hold(path: string, options: HoldOptions = {}): SessionHolder {
  const file = new SessionFile(path, options.lock);
  const allowPlaintext = options.allowPlaintext === true;
  const client = options.client ?? new Client(file.read().url, { allowPlaintext });
  return new SessionHolder(client, file, {
    checkEvery: options.checkEvery ?? CHECK_EVERY,
    listen: options.listen ?? true,
    onTrouble: options.onTrouble ?? (() => undefined),
  });
}

/**
 * Creates a session by a client that may (admin, issuer), and writes it to this file, whatever is in it. The file holds
 * the session's own token only.
 */
export async function createSessionFile(
  client: Client,
  session: NewSession,
  path: string,
  lock?: LockMethod,
): Promise<Grant> {
  return await new SessionFile(path, lock).locked(async (file) => {
    await file.prepare();
    const grant = createdGrant(client.url, await client.createSession(session));
    await file.write(grant);
    return grant;
  });
}
