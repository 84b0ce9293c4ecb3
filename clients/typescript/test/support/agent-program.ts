/**
 * An agent in a process of its own: it holds the session of a file by a clock that its parent tells, and does what it is
 * told, line by line: `agent-program.js FILE URL VERIFIER_KEY LOCK`.
 */

import { createInterface } from "node:readline";

import { Client, TenureError } from "@tenure/client";
import { describe, hold, type LockMethod } from "@tenure/client/hold";

import { ToldTime } from "./told-time.js";

const [file, url, verifierKey, lock] = process.argv.slice(2) as [string, string, string, LockMethod];
const time = new ToldTime();
const client = new Client(url, { time, patience: 0 });
const holder = hold(file, { client, lock, checkEvery: Infinity, listen: false });
const verifier = new Client(url, { credential: verifierKey, patience: 0 });

for await (const order of createInterface({ input: process.stdin })) {
  process.stdout.write(`${await answer(order)}\n`);
}
process.exit(0);

async function answer(order: string): Promise<string> {
  const [word, millis] = order.split(" ");
  if (word === "time") {
    time.tell(Number(millis));
    const live = time.atRest().then(() => `live ${String(holder.state.grant.renewalCount)}`);
    return await Promise.race([live, holder.ended.then((end) => `ended: ${describe(end)}`)]);
  }
  if (word === "use") return await tried(() => holder.session().then(() => "used"));
  if (word === "introspect") return await tried(() => judged());
  throw new Error(`no order: ${order}`);
}

/** Again while it fails for the moment. There is no waiting: the clock stands still. */
async function tried(call: () => Promise<string>): Promise<string> {
  for (let tries = 0; tries < 100; tries += 1) {
    try {
      return await call();
    } catch (error) {
      if (!(error instanceof TenureError) || !error.isTransient) return `failed: ${(error as Error).message}`;
    }
  }
  return "failed a hundred times";
}

/** What a service is told of this agent's token; an agent whose token is superseded shows the next one. */
async function judged(token = holder.token): Promise<string> {
  const judgement = await verifier.introspect(token);
  if (judgement.active) return "live";
  const next = await holder.tokenInsteadOf(token);
  return next === undefined ? `dead: ${judgement.code}` : await judged(next);
}
