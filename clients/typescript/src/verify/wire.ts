/**
 * The authority's answers as a verifier reads them. Members that it does not know are ignored; what it needs and does
 * not find makes the whole answer none.
 */

import { millisOf } from "../clock/timestamp.js";
import { publicKeyOf, type PublicKey } from "./paseto.js";
import { compare, inHistoryOf, placeOf, type Position } from "./position.js";
import type { Target } from "./revocations.js";

/** So many keys are more than any authority has. */
const MOST_KEYS = 256;

/** An answer of the authority that is not understood. */
export class NotUnderstood extends Error {
  override readonly message = "its answer is not understood";
}

/** A key, and until when it counts. */
export interface PublishedKey extends PublicKey {
  /** From this moment on it counts no more. */
  readonly retireAt: number;
}

/** What was revoked at a position. */
export interface FeedItem {
  readonly position: Position;
  readonly at: number;
  readonly targets: readonly Target[];
}

/** A page of `GET /v1/revocations/feed`. */
export interface FeedPage {
  readonly items: readonly FeedItem[];
  /** Where the next page begins. */
  readonly nextAfter: Position;
  /** How far the log goes. */
  readonly head: Position;
  /** What time it is there. */
  readonly now: number;
}

type Members = Record<string, unknown>;

/** Reads the body of `GET /v1/keys`. */
export async function keysOf(body: unknown): Promise<PublishedKey[]> {
  const keys = list(members(body)["keys"]).map(members);
  if (keys.length > MOST_KEYS) throw new NotUnderstood();
  // A key in a state of which nothing is known here signs nothing.
  const inUse = keys.filter((key) => key["state"] === "active" || key["state"] === "retiring");
  return await Promise.all(inUse.map(keyOf));
}

async function keyOf(body: Members): Promise<PublishedKey> {
  const key = typeof body["paserk"] === "string" ? await publicKeyOf(body["paserk"]) : undefined;
  if (key === undefined || key.id !== body["keyId"]) throw new NotUnderstood();
  return { ...key, retireAt: body["retireAt"] == null ? Infinity : time(body["retireAt"]) };
}

/** Reads the page after this position: items are in order, and each page but the last leads on. */
export function pageOf(body: unknown, after: Position): FeedPage {
  const found = members(body);
  const nextAfter = position(found["nextAfter"]);
  const here = (place: Position): Position => inHistoryOf(nextAfter, place);
  const page = {
    items: list(found["items"])
      .map(itemOf)
      .map((item) => ({ ...item, position: here(item.position) })),
    nextAfter,
    head: here(position(found["head"])),
    now: time(found["now"]),
  };
  const begin = here(after);
  const places = [begin, ...page.items.map((item) => item.position)];
  const isOrdered = places.every((place, index) => index === 0 || compare(places[index - 1] ?? begin, place) < 0);
  const isWithin = places.length === 1 || compare(places.at(-1) ?? begin, page.nextAfter) <= 0;
  if (!isOrdered || !isWithin || !(isLast(page) || compare(page.nextAfter, begin) > 0)) throw new NotUnderstood();
  return page;
}

/** Whether there is nothing behind it. */
export function isLast(page: FeedPage): boolean {
  return compare(page.nextAfter, page.head) >= 0;
}

/** Reads one item of the feed. */
export function itemOf(body: unknown): FeedItem {
  const item = members(body);
  return { position: position(item["position"]), at: time(item["at"]), targets: targetsOf(item) };
}

/** Reads the sign of life of a feed that is a stream: everything up to `head` was told. */
export function headOf(body: unknown): { head: Position; now: number } {
  const found = members(body);
  return { head: position(found["head"]), now: time(found["now"]) };
}

function targetsOf(item: Members): Target[] {
  const [session, sessions, selector] = [
    item["sessionId"] ?? null,
    item["sessionIds"] ?? null,
    item["selector"] ?? null,
  ];
  if (session !== null && sessions === null && selector === null) return [{ session: sessionId(session) }];
  if (session === null && sessions !== null && selector !== null) {
    return list(sessions).map((id) => ({ session: sessionId(id) }));
  }
  if (session === null && sessions === null && selector !== null) return [selected(members(selector))];
  // A kind of revocation of a later version may be about anyone.
  return ["everyone"];
}

/** Everything that a selector says narrows it, so what is not understood, or not told by tokens, is passed over. */
function selected(selector: Members): Target {
  const { subjectId, exceptSessionId } = selector;
  if (typeof subjectId !== "string") return "everyone";
  return { subject: subjectId, kept: typeof exceptSessionId === "string" ? exceptSessionId.toLowerCase() : undefined };
}

export function members(value: unknown): Members {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw new NotUnderstood();
  return value as Members;
}

function list(value: unknown): unknown[] {
  if (!Array.isArray(value)) throw new NotUnderstood();
  return value;
}

function sessionId(value: unknown): string {
  if (typeof value !== "string" || !/^[\da-f-]{36}$/i.test(value)) throw new NotUnderstood();
  return value.toLowerCase();
}

function position(value: unknown): Position {
  if (placeOf(value) === undefined) throw new NotUnderstood();
  return value as Position;
}

function time(value: unknown): number {
  const millis = millisOf(value);
  if (millis === undefined) throw new NotUnderstood();
  return millis;
}
