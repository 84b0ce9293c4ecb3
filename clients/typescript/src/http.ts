/** One request over HTTP: a credential in the header and nowhere else, no redirect followed, every failure typed. */

import { leadsHere } from "./address.js";
import type { Time } from "./clock/server-time.js";
import { millisOf } from "./clock/timestamp.js";
import { RefusedError, UnexpectedReplyError, UnreachableError, UnsendableError, problemOf } from "./errors.js";
import { partsOf } from "./streams.js";

/** How long a request may take in all. A renewal holds the lock of its file so long at most. */
const WHOLE = 10_000;
/** The longest reply that is read, in bytes: 200 sessions with all that may be kept with them are below it. */
const LONGEST_REPLY = 16 * 1024 * 1024;

/** What is asked. */
export interface HttpRequest {
  method: "GET" | "POST" | "PUT" | "DELETE";
  /** The segments of the path; each is encoded, so that no id leaves its place. */
  path: string[];
  query?: Record<string, string | number | undefined>;
  /** A JSON document. */
  body?: unknown;
  /** One name for one effect, however often it is sent. */
  idempotencyKey?: string;
  headers?: Record<string, string>;
}

/** How it is asked. */
export interface Asking {
  credential: string | undefined;
  time: Time;
  signal?: AbortSignal | undefined;
  credentials?: "omit" | "same-origin" | "include";
}

/** The limit of a request has passed. */
class TookTooLong extends Error {
  override readonly message = "it took too long";
}

/** Does something by a signal that aborts after so long, or when the outer one does; it leaves no listener behind. */
export async function within<T>(
  millis: number,
  outer: AbortSignal | undefined,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const inner = new AbortController();
  const stop = (): void => {
    inner.abort(outer?.reason);
  };
  const timer = setTimeout(() => {
    inner.abort(new TookTooLong());
  }, millis);
  outer?.addEventListener("abort", stop);
  if (outer?.aborted === true) stop();
  try {
    return await work(inner.signal);
  } finally {
    clearTimeout(timer);
    outer?.removeEventListener("abort", stop);
  }
}

/** Asks once, and reads the JSON of the answer. The clock learns what time the reply says it is. */
export async function ask<T>(base: URL, request: HttpRequest, asking: Asking): Promise<T> {
  return await within(WHOLE, asking.signal, async (signal) => {
    const response = await send(base, request, { ...asking, signal });
    const text = await textOf(base, response, signal);
    if (!response.ok) throw refusal(base, response, text);
    const document = parsed(text);
    if (document === undefined) throw new UnexpectedReplyError(urlOf(base), response.status, "it is no JSON");
    return document as T;
  });
}

/** Opens a stream of server-sent events. */
export async function openStream(base: URL, request: HttpRequest, asking: Asking): Promise<ReadableStream<Uint8Array>> {
  const headers = { ...request.headers, accept: "text/event-stream" };
  const response = await send(base, { ...request, headers }, asking);
  if (!response.ok) throw refusal(base, response, await textOf(base, response, asking.signal));
  const isStream = response.headers.get("content-type")?.startsWith("text/event-stream") === true;
  if (isStream && response.body !== null) return response.body;
  await response.body?.cancel();
  throw new UnexpectedReplyError(urlOf(base), response.status, "it is no event stream");
}

/** The address without a slash at its end. */
export function urlOf(base: URL): string {
  return base.href.replace(/\/$/, "");
}

/** How long a reply asks to be left alone, in milliseconds. A date is passed over: the authority sends none. */
export function retryAfterOf(response: Response): number | undefined {
  const seconds = response.headers.get("retry-after")?.trim() ?? "";
  return /^\d+$/.test(seconds) ? Number(seconds) * 1000 : undefined;
}

/** What time a reply says it is there. A cache's reply (`Age`) says what time it was. */
export function timeOf(response: Response): number | undefined {
  return response.headers.has("age") ? undefined : millisOf(response.headers.get("x-tenure-time"));
}

export async function send(base: URL, request: HttpRequest, asking: Asking): Promise<Response> {
  const init: RequestInit = { method: request.method, headers: headersOf(request, asking), redirect: "manual" };
  if (request.body !== undefined) init.body = JSON.stringify(request.body);
  if (asking.signal !== undefined) init.signal = asking.signal;
  if (asking.credentials !== undefined) init.credentials = asking.credentials;
  try {
    const response = await fetch(targetOf(base, request), init);
    const then = timeOf(response);
    if (then !== undefined) asking.time.heard(then);
    return response;
  } catch (error) {
    throw unreachable(base, error, asking.signal);
  }
}

/** The address of a request. */
export function targetOf(base: URL, request: Pick<HttpRequest, "path" | "query">): URL {
  const path = request.path.map(encodeURIComponent).join("/");
  const url = new URL(`${urlOf(base)}/${path}`);
  for (const [name, value] of Object.entries(request.query ?? {})) {
    if (value !== undefined) url.searchParams.append(name, String(value));
  }
  return url;
}

function headersOf(request: HttpRequest, asking: Asking): Headers {
  try {
    const headers = new Headers(request.headers);
    if (asking.credential !== undefined) headers.set("authorization", `Bearer ${asking.credential}`);
    if (request.idempotencyKey !== undefined) headers.set("idempotency-key", request.idempotencyKey);
    if (request.body !== undefined) headers.set("content-type", "application/json");
    return headers;
  } catch {
    // The runtime's own message quotes the value.
    throw new UnsendableError("the credential or the idempotency key has characters that no header can hold");
  }
}

/** The body, if it has no more than so many bytes. */
async function textOf(base: URL, response: Response, signal: AbortSignal | undefined): Promise<string> {
  const parts: Uint8Array[] = [];
  let length = 0;
  try {
    for await (const part of response.body === null ? [] : partsOf(response.body, signal)) {
      length += part.byteLength;
      if (length > LONGEST_REPLY) throw new UnexpectedReplyError(urlOf(base), response.status, "it does not end");
      parts.push(part);
    }
  } catch (error) {
    throw error instanceof UnexpectedReplyError ? error : unreachable(base, error, signal);
  }
  return new TextDecoder().decode(joined(parts, length));
}

function joined(parts: Uint8Array[], length: number): Uint8Array {
  const whole = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.byteLength;
  }
  return whole;
}

function refusal(base: URL, response: Response, text: string): RefusedError | UnexpectedReplyError {
  const problem = problemOf(parsed(text));
  if (problem !== undefined) return new RefusedError(problem, retryAfterOf(response));
  // A port for TLS answers what is not encrypted with 400.
  const doubt = response.status === 400 && base.protocol === "http:" ? speaksTls(base) : "";
  return new UnexpectedReplyError(urlOf(base), response.status, `its error is no problem document${doubt}`);
}

/** What Node says of an answer that is not TLS, and of one that is not HTTP, such as the alert of a TLS server. */
const NOT_TLS = ["ERR_SSL_WRONG_VERSION_NUMBER", "ERR_SSL_PACKET_LENGTH_TOO_LONG"];
const NOT_HTTP = ["HPE_INVALID_CONSTANT", "HPE_INVALID_VERSION"];

function speaksTls(base: URL): string {
  return `; it seems to speak TLS: try ${urlOf(base).replace(/^http:/, "https:")}`;
}

function speaksPlainHttp(base: URL): string {
  return leadsHere(base)
    ? `; it seems to speak plain HTTP: try ${urlOf(base).replace(/^https:/, "http:")}`
    : "; it seems to speak plain HTTP, which keys and tokens are not sent by: it needs TLS";
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** The innermost cause says what happened; the outer ones say that something did. */
function unreachable(base: URL, error: unknown, signal: AbortSignal | undefined): Error {
  if (error instanceof UnsendableError) return error;
  // What the caller broke off says so in its own words.
  if (signal?.aborted === true && !(signal.reason instanceof TookTooLong)) return signal.reason as Error;
  let innermost: unknown = error;
  while (innermost instanceof Error && innermost.cause instanceof Error) innermost = innermost.cause;
  const { code } = innermost as { code?: string };
  // OpenSSL's own words quote its source.
  if (base.protocol === "https:" && NOT_TLS.includes(code ?? "")) {
    const why = `the answer is not TLS${speaksPlainHttp(base)}`;
    return new UnreachableError(urlOf(base), why, { cause: error });
  }
  const said = innermost instanceof Error ? innermost.message : String(innermost);
  const why = said === "" ? "the connection failed" : said;
  const doubt = base.protocol === "http:" && NOT_HTTP.includes(code ?? "") ? speaksTls(base) : "";
  return new UnreachableError(urlOf(base), why + doubt, { cause: error });
}
