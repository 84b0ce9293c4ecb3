/** A page's session: no token, no file, its own origin only, behind an application's proxy. */

import assert from "node:assert/strict";
import type { IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { after, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { RefusedError } from "@tenure/client";
import { pageSession } from "@tenure/client/browser";

import { application } from "./support/application.js";
import { Server } from "./support/server.js";

/** What a browser has and Node has not. */
function visit(origin: string): void {
  Object.assign(globalThis, { location: { origin } });
}

after(() => Reflect.deleteProperty(globalThis, "location"));

test("a page reads and uses its session, and hears of its end, by its own origin and without a token", async () => {
  await using server = await Server.start({ realTime: true });
  await server.register("visitor");
  const { sessionId, token } = await server.client.createSession({ subjectId: "visitor" });
  const seen: IncomingMessage[] = [];
  const app = await application(server, token, seen);
  try {
    visit(`http://127.0.0.1:${String((app.address() as AddressInfo).port)}`);
    const session = pageSession({ sessionId, checkEvery: 500 });
    assert.equal((await session.read()).subjectId, "visitor");
    assert.equal((await session.recordUsage({ operation: "pay" })).transactions, 1);
    assert.match((await session.mintAccessToken()).accessToken, /^v4\.public\./);
    await server.client.revokeSession(sessionId, { reason: "enough" });
    const end = await Promise.race([session.ended, sleep(1_000)]);
    assert.deepEqual(end, { code: "SESSION_REVOKED", trigger: "manual_revoke" });
    assert(seen.length > 3 && seen.every(({ headers }) => headers.authorization === undefined));
    await assert.rejects(session.recordUsage({ operation: "pay" }), RefusedError);
  } finally {
    app.close();
    app.closeAllConnections();
  }
});

test("a page may sign its visitor out", async () => {
  await using server = await Server.start({ realTime: true });
  await server.register("visitor");
  const { sessionId, token } = await server.client.createSession({ subjectId: "visitor" });
  const app = await application(server, token, []);
  try {
    visit(`http://127.0.0.1:${String((app.address() as AddressInfo).port)}`);
    const session = pageSession({ sessionId, checkEvery: 200 });
    assert.equal((await session.revoke("signed out")).trigger, "self");
    assert.equal((await session.ended).trigger, "self");
  } finally {
    app.close();
    app.closeAllConnections();
  }
});

test("no path leads a page to another origin", () => {
  visit("https://app.example");
  for (const path of [
    "//evil.example",
    "https://evil.example/tenure",
    "http://app.example/tenure",
    "/\\evil.example",
  ]) {
    assert.throws(() => pageSession({ sessionId: "x", path }), /own origin/, path);
  }
});
