/** The application behind a page. */

import { once } from "node:events";
import { createServer, request as ask, type IncomingMessage, type Server as HttpServer } from "node:http";

import type { Server } from "./server.js";

/** An application that keeps its visitor's token and passes `/tenure/…` on with it. */
export async function application(server: Server, token: string, seen: IncomingMessage[]): Promise<HttpServer> {
  const app = createServer((request, response) => {
    seen.push(request);
    const [, path] = /^\/tenure(\/v1\/.*)/.exec(request.url ?? "") ?? [];
    if (path === undefined) return void response.writeHead(404).end();
    const headers = { ...request.headers, authorization: `Bearer ${token}` };
    const passed = ask(server.url + path, { method: request.method ?? "GET", headers }, (reply) => {
      reply.pipe(response.writeHead(reply.statusCode ?? 502, reply.rawHeaders));
    });
    request.pipe(passed);
    response.once("close", () => passed.destroy());
  });
  await once(app.listen(0, "127.0.0.1"), "listening");
  return app;
}
