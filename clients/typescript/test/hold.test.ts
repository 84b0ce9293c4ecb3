/** A session is held: renewed in time, ended when others end it, shared by its file. */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, existsSync, readFileSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";

import { Client, RefusedError } from "@tenure/client";
import { endedByOthers, hold, renewFile, SessionFile, type SessionHolder } from "@tenure/client/hold";

import { Proxy } from "./support/proxy.js";
import { PACKAGE, Server, tenure } from "./support/server.js";
import { ToldTime } from "./support/told-time.js";

/** A holder that has asked once, so that its stream is open if there is one. */
async function settled(file: string, options?: Parameters<typeof hold>[1]): Promise<SessionHolder> {
  const holder = hold(file, options);
  await holder.session();
  await new Promise((resolve) => setTimeout(resolve, 300));
  return holder;
}

async function codeOf(client: Client, token: string): Promise<string> {
  const judged = await client.introspect(token);
  return judged.active ? "live" : judged.code;
}

test("a holder renews when its time has come, and its token works before and after", async () => {
  await using server = await Server.start();
  const file = await server.sessionFile({ subjectId: "agent-7", ttl: 3_600 });
  const time = new ToldTime();
  time.tell(await server.now());
  const client = new Client(server.url, { time });
  await using holder = hold(file, { client, checkEvery: Infinity, listen: false });
  await time.atRest();
  const first = holder.token;
  await server.advance(3_000);
  time.tell(await server.now());
  await time.atRest();
  assert.notEqual(holder.token, first);
  assert.equal(holder.state.grant.renewalCount, 1);
  assert.equal((await holder.session()).renewalCount, 1);
  assert.equal(await codeOf(server.client, first), "TOKEN_SUPERSEDED");
});

test("a holder in real time renews by the clock of the server, whatever its own says", async () => {
  await using server = await Server.start();
  const file = await server.sessionFile({ subjectId: "agent-7", ttl: 3_600 });
  // The server is most of a period ahead of this machine from its next reply on.
  await server.advance(3_000);
  await using holder = hold(file, { checkEvery: 100 });
  await holder.session();
  for (let tries = 0; tries < 100 && holder.state.grant.renewalCount === 0; tries += 1) {
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  assert.equal(holder.state.grant.renewalCount, 1);
});

test("an end by others is known within a second, with its reason, and by the signal too", async () => {
  await using server = await Server.start({ realTime: true });
  const file = await server.sessionFile({ subjectId: "agent-7" });
  await using holder = await settled(file);
  const began = performance.now();
  await server.client.revokeSession(holder.sessionId, { reason: "enough" });
  const end = await holder.ended;
  const millis = performance.now() - began;
  console.log(`an end by others is known after ${millis.toFixed(0)} ms`);
  assert(end.kind === "refused" && end.problem.code === "SESSION_REVOKED" && end.problem.trigger === "manual_revoke");
  assert(endedByOthers(end) && holder.signal.aborted);
  assert(millis <= 1_000, `${millis.toFixed(0)} ms`);
});

test("a suspension of the subject ends the holder within a second", async () => {
  await using server = await Server.start({ realTime: true });
  const file = await server.sessionFile({ subjectId: "agent-7" });
  await using holder = await settled(file);
  const began = performance.now();
  await server.ask("POST", "/v1/subjects/agent-7/suspend", { reason: "it buys too much" });
  const end = await holder.ended;
  assert(end.kind === "refused" && end.problem.code === "SUBJECT_SUSPENDED" && endedByOthers(end));
  assert(performance.now() - began <= 1_000);
});

test("where no stream can be opened an end is known by asking", async () => {
  await using server = await Server.start({ realTime: true });
  const file = await server.sessionFile({ subjectId: "agent-7" });
  await using proxy = await Proxy.before(server.url, ({ url }) =>
    url?.endsWith("/events") === true ? "overload" : "pass",
  );
  await using holder = await settled(file, { client: new Client(proxy.url), checkEvery: 500 });
  await server.client.revokeSession(holder.sessionId);
  const end = await Promise.race([holder.ended, new Promise((resolve) => setTimeout(resolve, 2_000))]);
  assert(end !== undefined, "not within the bound");
});

test("what is asked by a superseded token is asked again by the token in the file", async () => {
  await using server = await Server.start();
  const file = await server.sessionFile({ subjectId: "agent-7", ttl: 3_600 });
  const time = new ToldTime();
  time.tell(await server.now());
  await using holder = hold(file, { client: new Client(server.url, { time }), checkEvery: Infinity, listen: false });
  await server.advance(2_000);
  assert.equal((await tenure("session", "renew", "--session-file", file)).code, 0);
  const usage = await holder.recordUsage({ operation: "pay", amount: "12.50" });
  assert.deepEqual([usage.transactions, usage.totalAmount], [1, "12.5"]);
  const { accessToken } = await holder.mintAccessToken({ ttl: 60 });
  assert.match(accessToken, /^v4\.public\./);
});

test("a session whose renewals are spent is held to the end of its period", async () => {
  await using server = await Server.start();
  const file = await server.sessionFile({ subjectId: "agent-7", ttl: 3_600, maxRenewals: 0 });
  const time = new ToldTime();
  time.tell(await server.now());
  await using holder = hold(file, {
    client: new Client(server.url, { time, patience: 0 }),
    checkEvery: Infinity,
    listen: false,
  });
  await server.advance(3_599);
  time.tell(await server.now());
  await time.atRest();
  await server.advance(1);
  time.tell(await server.now());
  const end = await holder.ended;
  assert(end.kind === "refused" && end.problem.code === "TOKEN_EXPIRED" && !endedByOthers(end));
});

test("renewFile is one renewal, and a refusal that the session survives is written down", async () => {
  await using server = await Server.start();
  const file = await server.sessionFile({ subjectId: "agent-7", ttl: 3_600 });
  const client = new Client(server.url);
  await assert.rejects(
    renewFile(client, file),
    (error) => error instanceof RefusedError && error.code === "RENEWAL_TOO_EARLY",
  );
  assert.equal(new SessionFile(file).read().renewalKey, null);
  await server.advance(2_000);
  assert.equal((await renewFile(client, file)).renewalCount, 1);
  assert.equal(
    (await tenure("session", "token", "--session-file", file)).said.trim(),
    new SessionFile(file).read().token,
  );
});

test("a file is its owner's alone, is refused when it is not, and no error quotes its token", async () => {
  await using server = await Server.start();
  const file = await server.sessionFile({ subjectId: "agent-7" });
  const { token } = new SessionFile(file).read();
  for (const name of readdirSync(dirname(file)).filter((name) => name.startsWith("agent"))) {
    assert.equal(statSync(join(dirname(file), name)).mode & 0o777, 0o600, name);
  }
  const whole = readFileSync(file, "utf8");
  const cases: [string, RegExp][] = [
    [whole.slice(0, whole.length / 2), /no session file: it is no JSON/],
    ["[]", /a JSON object/],
    [whole.replace('"version": 1', '"version": 2'), /`version` must be 1/],
    [whole.replace(token, "secret"), /`token` must begin with tnr_sess_/],
    [whole.replace(/"expiresAt": "[^"]+"/, '"expiresAt": "secret"'), /`expiresAt` must be an RFC 3339 time/],
  ];
  for (const [content, why] of cases) {
    writeFileSync(file, content);
    assert.throws(
      () => hold(file),
      (error) => {
        const { message, stack, cause } = error as Error;
        assert.match(message, why);
        assert(![message, stack, String(cause)].some((said) => /tnr_sess_v4|secret/.test(said ?? "")), message);
        return true;
      },
    );
  }
  writeFileSync(file, whole);
  chmodSync(file, 0o640);
  assert.throws(() => hold(file), /mode 0640.*chmod 600/);
});

test("the lock of a file goes with the file", async () => {
  await using server = await Server.start();
  for (const method of ["flock", "tenure"] as const) {
    const path = join(server.folder, "none.session");
    await new SessionFile(path, method).locked(async () => {
      assert(existsSync(`${path}.lock`));
      await Promise.resolve();
    });
    assert(!existsSync(`${path}.lock`), method);
  }
});

async function holding(file: string): Promise<{ child: ReturnType<typeof spawn>; said: () => string }> {
  const child = spawn(process.execPath, [join(PACKAGE, "examples/hold.mjs"), file], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  let said = "";
  child.stderr.on("data", (part: Buffer) => (said += part.toString()));
  await once(child.stdout, "data");
  return { child, said: () => said };
}

test("the example exits with 3 when others ended the session and with 0 at SIGTERM", async () => {
  await using server = await Server.start({ realTime: true });
  const file = await server.sessionFile({ subjectId: "agent-7" });
  const first = await holding(file);
  first.child.kill("SIGTERM");
  assert.deepEqual(await once(first.child, "exit"), [0, null]);
  const second = await holding(file);
  await server.client.revokeSession(new SessionFile(file).read().sessionId);
  assert.deepEqual(await once(second.child, "exit"), [3, null], second.said());
  assert.match(second.said(), /SESSION_REVOKED \(manual_revoke\)/);
});
