/** A session is held: renewed in time, ended when others end it, shared by its file. */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, cpSync, existsSync, readFileSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";

import { Client, RefusedError } from "@tenure/client";
import { endedByOthers, hold, renewFile, SessionFile } from "@tenure/client/hold";

import { Proxy } from "./support/proxy.js";
import { PACKAGE, Server, tenure } from "./support/server.js";
import { ToldTime } from "./support/told-time.js";

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

test("the end of a session is told by the signal too, for the work that is done in its name", async () => {
  await using server = await Server.start();
  const file = await server.sessionFile({ subjectId: "agent-7" });
  await using holder = hold(file, { listen: false, checkEvery: Infinity });
  const work = new Promise((_, reject) =>
    holder.signal.addEventListener("abort", () => reject(holder.signal.reason as Error)),
  );
  await holder.revoke("done");
  await assert.rejects(work, /its holder ended it/);
  const end = await holder.ended;
  assert(end.kind === "revoked" && !endedByOthers(end));
});

/** The thief renews first: the holder finds its token replaced, waits for the grace, asks once more, and shows itself. */
test("two holders that share no file end the session for both", async () => {
  await using server = await Server.start();
  const file = await server.sessionFile({ subjectId: "agent-7", ttl: 3_600 });
  const stolen = join(server.folder, "stolen.session");
  cpSync(file, stolen);
  const time = new ToldTime();
  time.tell(await server.now());
  await using holder = hold(file, { client: new Client(server.url, { time }), checkEvery: Infinity, listen: false });
  await server.advance(2_000);
  assert.equal((await renewFile(new Client(server.url), stolen)).renewalCount, 1);
  await server.advance(1_000);
  time.tell(await server.now());
  const end = await holder.ended;
  assert(end.kind === "refused" && end.problem.code === "SESSION_RENEWAL_MISMATCH");
  await using thief = hold(stolen, { listen: false, checkEvery: Infinity });
  await assert.rejects(
    thief.recordUsage({ operation: "pay" }),
    (error) => error instanceof RefusedError && error.code === "SESSION_REVOKED",
  );
  const other = await thief.ended;
  assert(other.kind === "refused" && other.problem.trigger === "token_reuse" && endedByOthers(other));
});

test("what another program has renewed is used from then on", async () => {
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

test("a use whose reply was lost before a renewal counts once", async () => {
  await using server = await Server.start();
  const file = await server.sessionFile({ subjectId: "agent-7", ttl: 300 });
  let uses = 0;
  await using proxy = await Proxy.before(server.url, async (request) => {
    if (!request.url?.endsWith("/usage")) return "pass";
    uses += 1;
    if (uses === 1) return "loseReply";
    if (uses === 2) {
      await server.advance(200);
      await renewFile(new Client(server.url), file);
    }
    return "pass";
  });
  await using holder = hold(file, { client: new Client(proxy.url), checkEvery: Infinity, listen: false });
  assert.equal((await holder.recordUsage({ operation: "work" })).transactions, 1);
  assert.equal((await holder.session()).usage.transactions, 1);
  assert.equal(uses, 3);
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
  assert.match(second.said(), /SESSION_REVOKED: an admin, an issuer or its owner ended it/);
});
