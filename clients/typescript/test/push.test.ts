/** Ends are pushed: by the session's own stream to its holder, by the feed's to verifiers. */

import assert from "node:assert/strict";
import type { IncomingMessage } from "node:http";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { Client } from "@tenure/client";
import { endedByOthers, hold } from "@tenure/client/hold";
import { Verifier } from "@tenure/client/verify";

import { Proxy, type Fate } from "./support/proxy.js";
import { Server } from "./support/server.js";

/** A proxy that counts the streams that were asked for, and decides their fate. */
async function watched(server: Server, fateOf: () => Fate): Promise<{ proxy: Proxy; streams: { count: number } }> {
  const streams = { count: 0 };
  const isStream = ({ headers }: IncomingMessage): boolean => headers.accept === "text/event-stream";
  const proxy = await Proxy.before(server.url, (request) => {
    if (!isStream(request)) return "pass";
    streams.count += 1;
    return fateOf();
  });
  return { proxy, streams };
}

const worst = (millis: number[]): number => Math.max(...millis);
const told = (what: string, millis: number[]): void => {
  const [median, last] = [[...millis].sort((a, b) => a - b)[Math.floor(millis.length / 2)] ?? 0, worst(millis)];
  console.log(`${what}: median ${median.toFixed(0)}, worst ${last.toFixed(0)} ms`);
};

test("a holder that asks nothing hears of an end at once, by one stream", async () => {
  await using server = await Server.start({ realTime: true, settings: ["limits.per_subject=100"] });
  const took: number[] = [];
  for (let round = 0; round < 20; round += 1) {
    const { proxy, streams } = await watched(server, () => "pass");
    await using _proxy = proxy;
    const file = await server.sessionFile({ subjectId: "agent-7" }, proxy.url, `${String(round)}.session`);
    await using holder = hold(file, { checkEvery: Infinity });
    while (streams.count === 0) await sleep(5);
    await sleep(100);
    const began = performance.now();
    await server.client.revokeSession(holder.sessionId, { reason: "enough" });
    const end = await holder.ended;
    took.push(performance.now() - began);
    assert(end.kind === "refused" && end.problem.trigger === "manual_revoke" && endedByOthers(end));
    assert.equal(streams.count, 1);
  }
  told("an end by others is known", took);
  assert(worst(took) <= 1_000);
});

test("a holder hears of a suspension at once, of one that was there before it too", async () => {
  await using server = await Server.start({ realTime: true });
  const file = await server.sessionFile({ subjectId: "agent-7" });
  {
    await using holder = hold(file, { checkEvery: Infinity });
    await sleep(200);
    const began = performance.now();
    await server.ask("POST", "/v1/subjects/agent-7/suspend", { reason: "it buys too much" });
    const end = await holder.ended;
    assert(end.kind === "refused" && end.problem.code === "SUBJECT_SUSPENDED" && endedByOthers(end));
    assert(performance.now() - began <= 1_000);
  }
  await using late = hold(file, { checkEvery: Infinity });
  assert.equal((await late.ended).kind, "refused");
});

test("a stream outlives the renewal of its session", async () => {
  await using server = await Server.start();
  const { proxy, streams } = await watched(server, () => "pass");
  await using _proxy = proxy;
  const file = await server.sessionFile({ subjectId: "agent-7", ttl: 3_600 }, proxy.url);
  await using holder = hold(file, { checkEvery: 100 });
  await sleep(200);
  await server.advance(3_000);
  while (holder.state.grant.renewalCount === 0) await sleep(20);
  assert.equal(streams.count, 1);
  await server.client.revokeSession(holder.sessionId);
  await holder.ended;
});

test("a stream that is cut or silent is opened again, and an end in between is known", async () => {
  await using server = await Server.start({ realTime: true });
  let fate: Fate = "pass";
  const { proxy, streams } = await watched(server, () => fate);
  await using _proxy = proxy;
  const file = await server.sessionFile({ subjectId: "agent-7" }, proxy.url);
  await using holder = hold(file, { checkEvery: Infinity });
  await sleep(200);
  fate = "overload";
  proxy.cut();
  await sleep(200);
  await server.client.revokeSession(holder.sessionId);
  const end = await Promise.race([holder.ended, sleep(3_000)]);
  assert(end !== undefined && streams.count >= 2);
});

test("where no stream can be opened an end is known by asking", async () => {
  await using server = await Server.start({ realTime: true });
  const { proxy } = await watched(server, () => "holdReply");
  await using _proxy = proxy;
  const file = await server.sessionFile({ subjectId: "agent-7" }, proxy.url);
  await using holder = hold(file, { checkEvery: 500 });
  await sleep(200);
  await server.client.revokeSession(holder.sessionId);
  assert((await Promise.race([holder.ended, sleep(2_000)])) !== undefined, "not within the bound");
});

/** A session has four streams, and a further one ends the oldest. Eight holders opened theirs again and again. */
test("more holders than a session has streams leave each other alone, and all hear of the end", async () => {
  await using server = await Server.start({ realTime: true });
  const { proxy, streams } = await watched(server, () => "pass");
  await using _proxy = proxy;
  const file = await server.sessionFile({ subjectId: "agent-7" }, proxy.url);
  const holders = Array.from({ length: 8 }, () => hold(file, { checkEvery: 60_000 }));
  await sleep(6_000);
  assert(streams.count < 8 * 5, `${String(streams.count)} streams were opened`);
  await server.client.revokeSession(holders[0]?.sessionId ?? "");
  const began = performance.now();
  await Promise.all(holders.map(({ ended }) => ended));
  const took = performance.now() - began;
  told("an end is known to eight holders with four streams", [took]);
  assert(took <= 1_000, `${took.toFixed(0)} ms`);
  await Promise.all(holders.map((holder) => holder.close()));
});

test("a verifier refuses a revoked session's token at once, by the feed's stream", async () => {
  await using server = await Server.start({ realTime: true, settings: ["limits.per_subject=100"] });
  const key = await server.issueKey("verifier");
  await using verifier = new Verifier({ url: server.url, key, poll: 60_000, stalenessBound: 120_000 });
  await verifier.ready();
  await sleep(200);
  await server.register("agent-7");
  const took: number[] = [];
  for (let round = 0; round < 50; round += 1) {
    const { sessionId, token } = await server.client.createSession({ subjectId: "agent-7" });
    const { accessToken } = await new Client(server.url, { credential: token }).mintAccessToken();
    await verifier.check(accessToken);
    await server.client.revokeSession(sessionId);
    const began = performance.now();
    while (
      await verifier.check(accessToken).then(
        () => true,
        () => false,
      )
    )
      await sleep(1);
    took.push(performance.now() - began);
  }
  told("a revoked session's token is refused", took);
  assert(worst(took) <= 1_000);
});

test("a verifier whose stream is cut asks again, and learns what was revoked meanwhile", async () => {
  await using server = await Server.start({ realTime: true });
  let fate: Fate = "pass";
  const { proxy } = await watched(server, () => fate);
  await using _proxy = proxy;
  await using verifier = new Verifier({ url: proxy.url, key: await server.issueKey("verifier"), poll: 200 });
  await verifier.ready();
  await server.register("agent-7");
  const { sessionId, token } = await server.client.createSession({ subjectId: "agent-7" });
  const { accessToken } = await new Client(server.url, { credential: token }).mintAccessToken();
  await verifier.check(accessToken);
  fate = "overload";
  proxy.cut();
  await server.client.revokeSession(sessionId);
  await sleep(1_000);
  await assert.rejects(verifier.check(accessToken), /its session was revoked/);
  assert(verifier.status().isFresh);
});
