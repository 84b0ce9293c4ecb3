/** A time as the API writes it: RFC 3339, UTC, such as `2026-11-21T01:35:00.000Z`. */
export type Timestamp = string;

const RFC_3339 = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/;

/** Milliseconds since 1970; undefined for what is no time of the API's. */
export function millisOf(text: unknown): number | undefined {
  if (typeof text !== "string" || !RFC_3339.test(text)) return undefined;
  const millis = Date.parse(text);
  return Number.isNaN(millis) ? undefined : millis;
}
