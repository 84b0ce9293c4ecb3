/**
 * A session as a page sees it. The page has no token and no session file: it calls its own origin, where the
 * application's proxy passes `PATH/v1/…` on to the authority and adds the token of the visitor's session, which it keeps
 * itself (behind a cookie that scripts cannot read).
 *
 * ```ts
 * import { pageSession } from "@tenure/client/browser";
 *
 * const session = pageSession({ sessionId, path: "/tenure" });
 * session.ended.then((end) => location.assign(`/signed-out?why=${end.code}`));
 * ```
 */

import type { AccessToken, NewAccessToken, NewUsage, RevokedSession, Session, Usage } from "../api.js";
import { Client } from "../client.js";
import { RefusedError, UnsendableError, type ErrorCode } from "../errors.js";
import { listen } from "../listen.js";
import { sleep } from "../clock/server-time.js";

/** An end is noticed so soon where no stream can be opened, in milliseconds. */
const CHECK_EVERY = 15_000;

export interface PageSessionOptions {
  /** Which session; the application says. It is no secret. */
  sessionId: string;
  /** Where on the page's own origin the application's proxy leads to the authority: `/tenure`. */
  path?: string;
  /** How often to ask whether the session still stands, in milliseconds. */
  checkEvery?: number;
}

/** Why a page's session is over. */
export interface PageEnd {
  readonly code: ErrorCode;
  /** What ended it; null when it ended by itself. */
  readonly trigger: string | null;
}

/** A session of the page's visitor. */
export interface PageSession {
  /** Resolves when the session is over. */
  readonly ended: Promise<PageEnd>;
  read(): Promise<Session>;
  recordUsage(usage: NewUsage): Promise<Usage>;
  mintAccessToken(wanted?: NewAccessToken): Promise<AccessToken>;
  /** Signs out. */
  revoke(reason?: string): Promise<RevokedSession>;
  /** Watches no longer. */
  close(): void;
}

/** Watches the session of the page's visitor, by way of the page's own origin. */
export function pageSession(options: PageSessionOptions): PageSession {
  const { sessionId, path = "/tenure", checkEvery = CHECK_EVERY } = options;
  const stop = new AbortController();
  const { signal } = stop;
  const client = new Client(ownOrigin(path), { allowPlaintext: true, credentials: "same-origin" });
  const ended = new Promise<PageEnd>((resolve) => {
    const check = async (): Promise<void> => {
      const end = await endOf(client.with({ signal }), sessionId);
      if (end === undefined) return;
      resolve(end);
      stop.abort();
    };
    void listen((signal) => client.with({ signal }).sessionEvents(sessionId), check, signal);
    void poll(check, checkEvery, signal);
  });
  return {
    ended,
    read: () => client.getSession(sessionId),
    recordUsage: (usage) => client.recordUsage(sessionId, usage),
    mintAccessToken: (wanted) => client.mintAccessToken(wanted),
    revoke: (reason) => client.revokeSession(sessionId, reason === undefined ? {} : { reason }),
    close: () => {
      stop.abort();
    },
  };
}

/** Why the session is over; undefined while it is not, or that cannot be known. */
async function endOf(client: Client, sessionId: string): Promise<PageEnd | undefined> {
  try {
    const { status, revokedTrigger } = await client.getSession(sessionId);
    if (status === "ACTIVE") return undefined;
    return { code: status === "REVOKED" ? "SESSION_REVOKED" : "TOKEN_EXPIRED", trigger: revokedTrigger };
  } catch (error) {
    // A token that was replaced a moment ago is the proxy's to replace.
    const isEnd = error instanceof RefusedError && error.status === 401 && error.code !== "TOKEN_SUPERSEDED";
    return isEnd ? { code: error.code, trigger: error.problem.trigger ?? null } : undefined;
  }
}

async function poll(check: () => Promise<void>, every: number, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await check();
    await sleep(every, signal).catch(() => undefined);
  }
}

/** An address below the page's own origin: what answers elsewhere gets no request of this page. */
function ownOrigin(path: string): string {
  const { location } = globalThis as { location?: { origin: string } };
  if (location === undefined) throw new UnsendableError("there is no page here; in Node use @tenure/client/hold");
  const url = new URL(path, location.origin);
  if (url.origin !== location.origin) throw new UnsendableError(`${path}: must be a path on the page's own origin`);
  return url.href;
}
