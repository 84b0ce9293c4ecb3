/** Single calls, against the real server and through a network that loses. */

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { createServer as createSocketServer, type AddressInfo } from "node:net";
import { test } from "node:test";
import { inspect } from "node:util";

import { Client, RefusedError, UnexpectedReplyError, UnreachableError, UnsendableError } from "@tenure/client";
import { hold } from "@tenure/client/hold";

import { Proxy, type Fate } from "./support/proxy.js";
import { Server } from "./support/server.js";

test("a session is created, found, used and ended", async () => {
  await using server = await Server.start();
  await server.register("agent-7");
  const tenure = server.client;
  const created = await tenure.createSession({ subjectId: "agent-7", device: "laptop", metadata: { team: "a" } });
  const read = await tenure.getSession(created.sessionId);
  assert.deepEqual(
    [read.status, read.device, read.metadata, read.onReuse],
    ["ACTIVE", "laptop", { team: "a" }, "revoke"],
  );
  const { items, nextCursor } = await tenure.listSessions({ subjectId: "agent-7", limit: 1 });
  assert.deepEqual([items.map(({ sessionId }) => sessionId), nextCursor], [[created.sessionId], null]);
  const judged = await tenure.introspect(created.token);
  assert(judged.active && judged.sessionId === created.sessionId);
  assert.equal((await tenure.recordUsage(created.sessionId, { operation: "pay", amount: "1.10" })).totalAmount, "1.1");
  const revoked = await tenure.revokeSession(created.sessionId, { reason: "done" });
  assert.equal(revoked.trigger, "manual_revoke");
  assert.deepEqual(await tenure.introspect(created.token), { active: false, code: "SESSION_REVOKED" });
  const inherited = await tenure.createSession({ subjectId: "agent-7", onReuse: null });
  assert.equal((await tenure.getSession(inherited.sessionId)).onReuse, "reject", "null is the authority's setting");
});

test("a call whose reply is lost, or that came at a bad moment, is made again and has one effect", async () => {
  await using server = await Server.start();
  await server.register("agent-7");
  const fates: Fate[] = ["loseReply", "overload"];
  await using proxy = await Proxy.before(server.url, () => fates.shift() ?? "pass");
  await new Client(proxy.url, { credential: server.admin }).createSession({ subjectId: "agent-7" });
  assert.equal(await server.count("SessionCreated"), 1);
});

test("an address with the wrong scheme is told the right one", async () => {
  await using server = await Server.start();
  const wrong = new Client(server.url.replace("http:", "https:"), { credential: server.admin, patience: 0 });
  await assert.rejects(wrong.listSessions(), (error) => {
    assert(error instanceof UnreachableError && error.message.endsWith(`try ${server.url}`), inspect(error));
    return true;
  });
  // What servers that know nothing but TLS answer: an alert, or a 400.
  const answers: [Buffer, new (...given: never[]) => Error][] = [
    [Buffer.from("15030300020232", "hex"), UnreachableError],
    [Buffer.from("HTTP/1.1 400 Bad Request\r\ncontent-length: 5\r\n\r\nHTTPS"), UnexpectedReplyError],
  ];
  for (const [answer, kind] of answers) {
    const encrypted = createSocketServer((socket) => socket.once("data", () => socket.end(answer)));
    await once(encrypted.listen(0, "127.0.0.1"), "listening");
    const there = `127.0.0.1:${String((encrypted.address() as AddressInfo).port)}`;
    const plain = new Client(`http://${there}`, { credential: "tnr_key_x", patience: 0 });
    await assert.rejects(plain.listSessions(), (error) => {
      assert(error instanceof kind && error.message.includes(`try https://${there}`), inspect(error));
      return true;
    });
    encrypted.close();
  }
});

test("an error says what it is, and whether another try is worth it", async () => {
  await using server = await Server.start();
  const once = server.client.with({ patience: 0 });
  await assert.rejects(once.createSession({ subjectId: "nobody", ttl: 1 }), (error) => {
    assert(error instanceof RefusedError && !error.isTransient);
    assert.deepEqual([error.code, error.status], ["INVALID_REQUEST", 400]);
    assert.equal(error.problem.errors?.[0]?.field, "ttl");
    return true;
  });
  await server.register("agent-7");
  const { sessionId, token } = await once.createSession({ subjectId: "agent-7" });
  const holder = once.with({ credential: token });
  await assert.rejects(holder.renewSession(sessionId, "key"), (error) => {
    assert(error instanceof RefusedError && error.isTransient && error.code === "RENEWAL_TOO_EARLY");
    assert.equal(error.retryAt, Date.parse(error.problem.retryAt ?? ""));
    return true;
  });
  await using proxy = await Proxy.before(server.url, () => "loseReply");
  await assert.rejects(new Client(proxy.url, { patience: 0 }).getSession(sessionId), UnreachableError);
  await assert.rejects(new Client(`${server.url}/openapi.json`, { patience: 0 }).getSession("x"), RefusedError);
  await assert.rejects(new Client(server.url, { credential: "secret\nx" }).getSession(sessionId), (error) => {
    return error instanceof UnsendableError && !error.message.includes("secret");
  });
});

test("what another program answers says nothing about a session, and no redirect is followed", async () => {
  const asked: string[] = [];
  const stranger = createServer((request, response) => {
    asked.push(request.url ?? "");
    if (request.url?.endsWith("moved") === true) response.writeHead(307, { location: "/elsewhere" }).end();
    else response.writeHead(401, { "content-type": "text/html" }).end("<h1>Sign in</h1>");
  });
  await once(stranger.listen(0, "127.0.0.1"), "listening");
  const url = `http://127.0.0.1:${String((stranger.address() as { port: number }).port)}`;
  try {
    for (const id of ["moved", "x"]) {
      const reading = new Client(url, { patience: 0 }).getSession(id);
      await assert.rejects(reading, (error) => error instanceof UnexpectedReplyError && error.isTransient);
    }
    assert.equal(asked.length, 2);
  } finally {
    stranger.close();
  }
});

test("nothing that is printed shows a token", async () => {
  await using server = await Server.start();
  const file = await server.sessionFile({ subjectId: "agent-7" });
  await using holder = hold(file, { listen: false });
  for (const shown of [holder, holder.state, server.client, new Client(server.url, { credential: holder.token })]) {
    const text = inspect(shown, { depth: 9, showHidden: true }) + JSON.stringify(shown);
    assert(!text.includes(holder.token) && !text.includes(server.admin), text);
  }
});
