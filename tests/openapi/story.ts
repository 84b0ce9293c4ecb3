// The life of a session, told through types that were generated from the OpenAPI document.
import assert from "node:assert/strict";
import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";

const [baseUrl, key] = process.argv.slice(2);
assert(baseUrl !== undefined && key !== undefined);

// The record can be read as a page or as a stream; this client reads pages.
const client = createClient<paths, "application/json" | "application/problem+json">({
  baseUrl,
  headers: { Authorization: `Bearer ${key}` },
});

function got<T>(answer: { data?: T; error?: unknown; response: Response }): T {
  assert(answer.data !== undefined, JSON.stringify(answer.error));
  assert(answer.response.headers.get("x-request-id"));
  return answer.data;
}

const created = got(
  await client.POST("/v1/sessions", {
    body: { subjectId: "typescript-agent", ttl: 600, metadata: { team: "a", nested: { deep: [1, null] } } },
  }),
);
got(await client.PUT("/v1/clock", { body: { advance: 300 } }));

const renewed = got(
  await client.PUT("/v1/sessions/{sessionId}/renew", {
    params: { path: { sessionId: created.sessionId }, header: { "Idempotency-Key": "one" } },
    headers: { Authorization: `Bearer ${created.token}` },
  }),
);
assert.equal(renewed.renewalCount, 1);
assert.notEqual(renewed.token, created.token);

const introspected = async (token: string) => {
  const judgement = got(await client.POST("/v1/introspect", { body: { token, include: ["metadata"] } }));
  assert(!("results" in judgement));
  return judgement;
};
const live = await introspected(renewed.token);
// `active` alone tells which of the two it is: this would not compile otherwise.
assert(live.active);
assert.equal(live.subjectId, "typescript-agent");
assert.equal(live.metadata?.["team"], "a");

const read: components["schemas"]["SessionView"] = got(
  await client.GET("/v1/sessions/{sessionId}", { params: { path: { sessionId: created.sessionId } } }),
);
const listed = got(await client.GET("/v1/sessions", { params: { query: { subjectId: "typescript-agent", limit: 200 } } }));
// An item of a list is of the class of one that is read alone.
const items: components["schemas"]["SessionView"][] = listed.items;
assert.deepEqual(
  items.map((item) => item.sessionId),
  [read.sessionId],
);

const revoked = got(
  await client.DELETE("/v1/sessions/{sessionId}", {
    params: { path: { sessionId: created.sessionId }, query: { reason: "over" } },
  }),
);
assert.equal(revoked.status, "REVOKED");
const dead = await introspected(renewed.token);
assert(!dead.active);
assert.equal(dead.code, "SESSION_REVOKED");

const events = got(await client.GET("/v1/events", { params: { query: { sessionId: created.sessionId } } }));
assert.equal(events.items[0]?.data["ttl"] !== null, true);
const notices = got(await client.GET("/v1/notices", { params: { query: { sessionId: created.sessionId } } }));
const counts = notices.items.map((notice) => (notice.kind === "SESSION_RENEWED" ? notice.renewalCount : null));
assert(counts.includes(1));

const refused = await client.POST("/v1/sessions", { body: { subjectId: "nobody-knows-it" } });
assert.equal(refused.error?.code, "SUBJECT_NOT_FOUND");
console.log("the story is told");
