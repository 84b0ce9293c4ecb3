/**
 * Calls Tenure, the session authority, from Node, a browser or any other runtime with `fetch`.
 *
 * - `@tenure/client`: single calls, typed both ways.
 * - `@tenure/client/hold`: holds the session of a file in Node: renewed in time, shared with other processes.
 * - `@tenure/client/verify`: checks access tokens offline and session tokens by asking.
 * - `@tenure/client/express`, `@tenure/client/hono`: guards of routes.
 * - `@tenure/client/browser`: a session as a page sees it, behind the application's own proxy.
 */

export type * from "./api.js";
export type { Timestamp } from "./clock/timestamp.js";
export { ServerTime, type Time } from "./clock/server-time.js";
export { Client, type ClientOptions } from "./client.js";
export {
  ERROR_CODES,
  RefusedError,
  TenureError,
  UnexpectedReplyError,
  UnreachableError,
  UnsendableError,
  type ErrorCode,
  type Problem,
} from "./errors.js";
