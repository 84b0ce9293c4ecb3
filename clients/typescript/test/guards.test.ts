/** Guards in the real Express and the real Hono, asked over HTTP. */

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, request as ask, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";

import express from "express";
import { Hono } from "hono";
import { Client } from "@tenure/client";
import { guard as expressGuard, holderOf } from "@tenure/client/express";
import { guard as honoGuard } from "@tenure/client/hono";
import { Introspector, Verifier, type TokenJudge } from "@tenure/client/verify";

import { Server } from "./support/server.js";

type App = (authorization: string[]) => Promise<{ status: number; headers: Headers; text: string }>;

const READ = { scopes: ["orders:read"] };

/** An application with one route, which says whose request it is. */
const FRAMEWORKS: Record<string, (judge: TokenJudge) => RequestListener> = {
  express: (judge) => {
    const app = express();
    app.get("/orders", expressGuard(judge, READ), (request, response) => {
      response.send(`the orders of ${holderOf(request).subjectId}`);
    });
    return app;
  },
  hono: (judge) => {
    const app = new Hono();
    app.get("/orders", honoGuard(judge, READ), (c) => c.text(`the orders of ${c.var.holder.subjectId}`));
    return (request, response) => {
      const headers = new Headers();
      for (const [name, values] of Object.entries(request.headersDistinct))
        values?.forEach((value) => headers.append(name, value));
      void Promise.resolve(app.request(request.url ?? "/", { headers })).then(async (answer) => {
        response.writeHead(answer.status, Object.fromEntries(answer.headers)).end(await answer.text());
      });
    };
  },
};

/** Lets an application listen while it is asked. */
async function served(app: RequestListener, work: (ask: App) => Promise<void>): Promise<void> {
  const server = createServer(app).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const asked: App = async (authorization) => {
    const request = ask({ port, path: "/orders" });
    if (authorization.length > 0) request.setHeader("authorization", authorization);
    const [response] = (await once(request.end(), "response")) as [import("node:http").IncomingMessage];
    let text = "";
    for await (const part of response) text += String(part);
    const headers = new Headers(Object.entries(response.headers).map(([name, value]) => [name, String(value)]));
    return { status: response.statusCode ?? 0, headers, text };
  };
  try {
    await work(asked);
  } finally {
    server.close();
    server.closeAllConnections();
  }
}

for (const [name, appOf] of Object.entries(FRAMEWORKS)) {
  test(`${name}: a good token passes, and everything else is answered as RFC 6750 says`, async () => {
    await using server = await Server.start({ realTime: true });
    await using verifier = new Verifier({ url: server.url, key: await server.issueKey("verifier") });
    await verifier.ready();
    await server.register("agent-7");
    const tokenFor = async (scopes: string[]): Promise<string> => {
      const { token } = await server.client.createSession({ subjectId: "agent-7", scopes });
      return (await new Client(server.url, { credential: token }).mintAccessToken()).accessToken;
    };
    const [good, poor] = [await tokenFor(["orders:read"]), await tokenFor([])];
    await served(appOf(verifier), async (asked) => {
      for (const scheme of ["Bearer", "bearer", "BEARER"]) {
        const passed = await asked([`${scheme} ${good}`]);
        assert.deepEqual([passed.status, passed.text], [200, "the orders of agent-7"]);
      }
      const refused: [string[], number, string][] = [
        [[], 401, 'Bearer realm="tenure"'],
        [[`Basic ${good}`], 401, 'Bearer realm="tenure"'],
        [["Bearer "], 401, 'Bearer realm="tenure"'],
        [
          [`Bearer ${good}x`],
          401,
          'Bearer realm="tenure", error="invalid_token", error_description="it is no token of this kind"',
        ],
        [
          [`Bearer ${good}`, `Bearer ${good}`],
          400,
          'Bearer realm="tenure", error="invalid_request", error_description="more than one credential"',
        ],
        [[`Bearer ${poor}`], 403, 'Bearer realm="tenure", error="insufficient_scope", scope="orders:read"'],
      ];
      for (const [authorization, status, challenge] of refused) {
        const answer = await asked(authorization);
        assert.deepEqual([answer.status, answer.headers.get("www-authenticate"), answer.text], [status, challenge, ""]);
        assert.equal(answer.headers.get("cache-control"), "no-store");
      }
    });
  });

  test(`${name}: session tokens are judged at each request, and nothing passes while the authority is away`, async () => {
    const key = { value: "" };
    let url = "";
    {
      await using server = await Server.start({ realTime: true });
      [key.value, url] = [await server.issueKey("verifier"), server.url];
      const judge = new Introspector({ url, key: key.value });
      await server.register("agent-7");
      const { sessionId, token } = await server.client.createSession({ subjectId: "agent-7", scopes: ["orders:read"] });
      await served(appOf(judge), async (asked) => {
        assert.equal((await asked([`Bearer ${token}`])).status, 200);
        await server.client.revokeSession(sessionId);
        const refused = await asked([`Bearer ${token}`]);
        assert.equal(refused.status, 401);
        assert.match(refused.headers.get("www-authenticate") ?? "", /its session was revoked/);
      });
    }
    await served(appOf(new Introspector({ url, key: key.value })), async (asked) => {
      const away = await asked(["Bearer tnr_sess_v4.local.x"]);
      assert.deepEqual(
        [away.status, away.headers.get("retry-after"), away.headers.get("www-authenticate")],
        [503, "1", null],
      );
    });
  });
}

test("a scope that no token can have is refused when the guard is made", () => {
  const judge = new Introspector({ url: "http://127.0.0.1:9", key: "tnr_key_x" });
  for (const scope of ["", "a b", 'a"b', "a\\b", "é"])
    assert.throws(() => expressGuard(judge, { scopes: [scope] }), TypeError);
});
