/** Access tokens are checked offline, against the keys and revocations of a real server. */

import assert from "node:assert/strict";
import { generateKeyPairSync, sign } from "node:crypto";
import { join } from "node:path";
import { test } from "node:test";

import { Client, type NewSession } from "@tenure/client";
import { Introspector, RejectedTokenError, Verifier, type RejectionReason } from "@tenure/client/verify";

import { Proxy } from "./support/proxy.js";
import { Server, tenure } from "./support/server.js";

/** A session's token and a client with it. */
async function session(
  server: Server,
  wanted: Partial<NewSession> = {},
): Promise<{ id: string; token: string; client: Client }> {
  const subjectId = wanted.subjectId ?? "agent-7";
  await server.register(subjectId);
  const { sessionId, token } = await server.client.createSession({ subjectId, ...wanted });
  return { id: sessionId, token, client: new Client(server.url, { credential: token }) };
}

async function verifierOf(server: Server, options: object = {}): Promise<Verifier> {
  const verifier = new Verifier({ url: server.url, key: await server.issueKey("verifier"), ...options });
  await verifier.ready();
  return verifier;
}

async function assertRejected(checked: Promise<unknown>, reason: RejectionReason): Promise<void> {
  await assert.rejects(checked, (error) => {
    assert(error instanceof RejectedTokenError, String(error));
    assert.equal(error.reason, reason);
    return true;
  });
}

/** Until a token is refused; how long that took, in milliseconds. */
async function untilRefused(verifier: Verifier, token: string, reason: RejectionReason): Promise<number> {
  const began = performance.now();
  for (;;) {
    try {
      await verifier.check(token);
    } catch (error) {
      assert.equal((error as RejectedTokenError).reason, reason);
      return performance.now() - began;
    }
    assert(performance.now() - began < 10_000, "it is still taken");
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

test("a genuine token says whose it is, and one that was touched is refused", async () => {
  await using server = await Server.start({ realTime: true });
  await using verifier = await verifierOf(server, { audience: "orders" });
  const { id, client } = await session(server, { scopes: ["orders:read", "orders:write"] });
  const { accessToken } = await client.mintAccessToken({ audience: "orders" });
  const claims = await verifier.check(accessToken);
  assert.deepEqual([claims.iss, claims.sub, claims.sid, claims.aud], ["tenure", "agent-7", id, "orders"]);
  assert.deepEqual(claims.scopes, ["orders:read", "orders:write"]);

  const [head, footer] = [
    accessToken.slice(0, accessToken.lastIndexOf(".")),
    accessToken.slice(accessToken.lastIndexOf(".")),
  ];
  const swapped = (at: number): string =>
    head.slice(0, at) + (head[at] === "A" ? "B" : "A") + head.slice(at + 1) + footer;
  await assertRejected(verifier.check(swapped(20)), "badSignature");
  await assertRejected(verifier.check(swapped(head.length - 40)), "badSignature");
  for (const wrong of [
    "",
    "v4.public.",
    head,
    `${accessToken}.`,
    `${accessToken}=`,
    "v4.local.abc.def",
    `${accessToken}${"A".repeat(20_000)}`,
  ]) {
    await assertRejected(verifier.check(wrong), "malformed");
  }
  const others = await Promise.all([client.mintAccessToken(), client.mintAccessToken({ audience: "order" })]);
  for (const other of others) await assertRejected(verifier.check(other.accessToken), "wrongAudience");
  await using elsewhere = await verifierOf(server, { issuer: "https://other.example", audience: "orders" });
  await assertRejected(elsewhere.check(accessToken), "wrongIssuer");
});

/** A token of a key of our own under the id of the authority's would pass where the id is taken on trust. */
test("a token that another key signed is refused, whatever its footer says", async () => {
  await using server = await Server.start({ realTime: true });
  await using verifier = await verifierOf(server);
  const { client } = await session(server);
  const { accessToken } = await client.mintAccessToken();
  const [, , body, footer] = accessToken.split(".") as [string, string, string, string];
  const message = Buffer.from(body, "base64url").subarray(0, -64);
  const parts = [Buffer.from("v4.public."), message, Buffer.from(footer, "base64url"), Buffer.alloc(0)];
  const length = (count: number): Buffer => Buffer.from(new BigUint64Array([BigInt(count)]).buffer);
  const signed = Buffer.concat([length(4), ...parts.flatMap((part) => [length(part.length), part])]);
  const forged = Buffer.concat([message, sign(null, signed, generateKeyPairSync("ed25519").privateKey)]);
  await assertRejected(verifier.check(`v4.public.${forged.toString("base64url")}.${footer}`), "badSignature");
  const unknown = Buffer.from('{"kid":"k4.pid.unknown"}').toString("base64url");
  await assertRejected(verifier.checkWithNews(`v4.public.${body}.${unknown}`), "unknownKey");
});

test("a revoked session's token is refused within a second, and others pass", async () => {
  await using server = await Server.start({ realTime: true });
  await using verifier = await verifierOf(server);
  const other = await session(server, { subjectId: "other" });
  const stays = (await other.client.mintAccessToken()).accessToken;
  const took: number[] = [];
  for (let round = 0; round < 5; round += 1) {
    const { id, client } = await session(server);
    const { accessToken } = await client.mintAccessToken();
    await verifier.check(accessToken);
    await server.client.revokeSession(id);
    took.push(await untilRefused(verifier, accessToken, "revoked"));
  }
  console.log(`refused after ${took.map((millis) => millis.toFixed(0)).join(", ")} ms`);
  assert(Math.max(...took) <= 1_100, "the poll and two round trips at most");
  await verifier.check(stays);
});

test("a suspended subject's token is refused, and others pass", async () => {
  await using server = await Server.start({ realTime: true });
  await using verifier = await verifierOf(server);
  const { client } = await session(server);
  const { accessToken } = await client.mintAccessToken();
  const other = (await (await session(server, { subjectId: "other" })).client.mintAccessToken()).accessToken;
  await server.ask("POST", "/v1/subjects/agent-7/suspend", {});
  await untilRefused(verifier, accessToken, "revoked");
  await verifier.check(other);
});

test("a rotated key is learnt at the first token of it, and one that is retired at once is refused", async () => {
  await using server = await Server.start({ realTime: true });
  await using verifier = await verifierOf(server, { poll: 4_000 });
  const { client } = await session(server);
  const before = (await client.mintAccessToken()).accessToken;
  await server.ask("POST", "/v1/keys/rotate", { which: "access", retire: "now" });
  const after = (await client.mintAccessToken()).accessToken;
  await verifier.checkWithNews(after);
  await assertRejected(verifier.check(before), "unknownKey");
});

test("a restored authority is followed in its second epoch, also when its stream breaks off", async () => {
  await using first = await Server.start();
  await first.kill();
  const [old, backup] = [join(first.folder, "data"), join(first.folder, "backup")];
  const { code, said } = await tenure("backup", backup, "--data", old, "--without-keys");
  assert.equal(code, 0, said);
  await using server = await Server.start({ restored: { backup, keys: join(old, "keys") } });
  // What was signed about when all sessions ended may be of any of them.
  await server.advance(10);
  const [one, other, third] = [await session(server), await session(server), await session(server)];
  const mint = async ({ client }: { client: Client }): Promise<string> => (await client.mintAccessToken()).accessToken;
  const [ended, ending, live] = [await mint(one), await mint(other), await mint(third)];
  await server.client.revokeSession(one.id);
  await using proxy = await Proxy.before(server.url, () => "pass");
  const key = await server.issueKey("verifier");
  await using verifier = new Verifier({ url: proxy.url, key, poll: 100, stalenessBound: 20_000 });
  await verifier.ready();
  await assertRejected(verifier.check(ended), "revoked");
  await server.client.revokeSession(other.id);
  await untilRefused(verifier, ending, "revoked");
  for (let cut = 0; cut < 3; cut += 1) {
    proxy.cut();
    await new Promise((resolve) => setTimeout(resolve, 500));
    await verifier.check(live);
  }
});

test("a token ends by the clock of the authority", async () => {
  await using server = await Server.start();
  await using verifier = await verifierOf(server, { poll: 50 });
  const { client } = await session(server, { ttl: 3_600 });
  const { accessToken } = await client.mintAccessToken({ ttl: 60 });
  await verifier.check(accessToken);
  await server.advance(59);
  await new Promise((resolve) => setTimeout(resolve, 300));
  await verifier.check(accessToken);
  await server.advance(1);
  await untilRefused(verifier, accessToken, "expired");
});

test("a verifier refuses everything before it was told all, and when it was told nothing for too long", async () => {
  await using server = await Server.start({ realTime: true });
  let isCut = true;
  await using proxy = await Proxy.before(server.url, () => (isCut ? "overload" : "pass"));
  const key = await server.issueKey("verifier");
  await using verifier = new Verifier({ url: proxy.url, key, poll: 100, stalenessBound: 1_000 });
  const { client } = await session(server);
  const { accessToken } = await client.mintAccessToken();
  await assertRejected(verifier.check(accessToken), "notReady");
  isCut = false;
  await verifier.ready();
  await verifier.check(accessToken);
  isCut = true;
  proxy.cut();
  const took = await untilRefused(verifier, accessToken, "stale");
  assert(took > 500 && took < 3_000, `${took.toFixed(0)} ms`);
  assert(!verifier.status().isFresh);
  isCut = false;
  await verifier.ready();
  await verifier.check(accessToken);
});

test("session tokens are judged by asking, and a dead one says why", async () => {
  await using server = await Server.start();
  const introspector = new Introspector({ url: server.url, key: await server.issueKey("verifier") });
  const { id, token } = await session(server, { scopes: ["pay"], ttl: 3_600 });
  const holder = await introspector.judge(token);
  assert.deepEqual([holder.subjectId, holder.sessionId, holder.scopes], ["agent-7", id, ["pay"]]);
  await server.client.revokeSession(id);
  await assertRejected(introspector.judge(token), "revoked");
  await assertRejected(introspector.judge("tnr_sess_v4.local.x"), "malformed");
  await assertRejected(introspector.judge(server.admin), "malformed");
  const nowhere = new Introspector({ url: "http://127.0.0.1:9", key: "tnr_key_x" });
  await assertRejected(nowhere.judge(token), "unreachable");
});

test("an authority is asked where its answers cannot be changed, by an API key", () => {
  for (const url of [
    "http://tenure.example",
    "http://127.0.0.1.example",
    "ftp://localhost",
    "https://me@h.example",
    "https://h/?x",
  ]) {
    assert.throws(() => new Introspector({ url, key: "tnr_key_x" }), url);
  }
  for (const key of ["", "tnr_sess_x", "tnr_key_\n"]) {
    assert.throws(() => new Introspector({ url: "http://127.0.0.1:9", key }), TypeError);
  }
});
