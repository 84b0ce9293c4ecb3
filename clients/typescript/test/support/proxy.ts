/** A network that loses: it stands between clients and the server, and decides the fate of each request. */

import { once } from "node:events";
import { createServer, request as ask, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/**
 * `loseReply`: the server answers, and the connection ends instead. `holdReply`: the server answers, and the client waits
 * as long as it lives. `holdRequest`: the server never hears of it, and the client waits. `overload`: the server never
 * hears of it, and the client is told that there is too much to do.
 */
export type Fate = "pass" | "loseReply" | "holdReply" | "holdRequest" | "overload";

const OVERLOADED = { code: "OVERLOADED", title: "Too many requests are waiting", status: 503, retryable: true };

export class Proxy implements AsyncDisposable {
  readonly url: string;
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
    this.url = `http://127.0.0.1:${String((server.address() as AddressInfo).port)}`;
  }

  /** Asks for the fate of each request before it is passed on. */
  static async before(upstream: string, fateOf: (request: IncomingMessage) => Fate | Promise<Fate>): Promise<Proxy> {
    const server = createServer((request, response) => {
      const relayed = async () => relay(upstream, request, response, await fateOf(request));
      relayed().catch(() => response.destroy());
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    return new Proxy(server);
  }

  /** Ends all connections; new ones are taken. */
  cut(): void {
    this.#server.closeAllConnections();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#server, "close");
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
  }
}

async function relay(upstream: string, request: IncomingMessage, response: ServerResponse, fate: Fate): Promise<void> {
  if (fate === "holdRequest") return;
  if (fate === "overload") {
    response.writeHead(503, { "content-type": "application/problem+json" }).end(JSON.stringify(OVERLOADED));
    return;
  }
  const { method, headers } = request;
  const asked = request.pipe(ask(upstream + (request.url ?? "/"), { method, headers }));
  response.once("close", () => asked.destroy());
  const [reply] = (await once(asked, "response")) as [IncomingMessage];
  if (fate === "loseReply") response.destroy();
  else if (fate === "pass") reply.pipe(response.writeHead(reply.statusCode ?? 502, reply.rawHeaders));
}

/** The same numbers, from 0 to 1, at every run: a linear congruential generator. */
export function chanceOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}
