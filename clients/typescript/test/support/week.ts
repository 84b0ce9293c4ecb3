/** A week in which processes share one session file, and every tenth reply is lost. */

import assert from "node:assert/strict";

import { SessionFile } from "@tenure/client/hold";

import type { Agent } from "./agent.js";
import { chanceOf } from "./proxy.js";
import type { Server } from "./server.js";

export const SEED = 0x007e_0075;
/** Four hours: 100 renewals at most are enough for a week, at 50 % of the period each. */
export const TTL = 14_400;
export const WEEK = 7 * 86_400;

export const lossy = (lost: { count: number }): (() => "pass" | "loseReply") => {
  const chance = chanceOf(SEED);
  return () => {
    if (chance() > 0.1) return "pass";
    lost.count += 1;
    return "loseReply";
  };
};

/** Tells all what time it is, while some use the session: before they know that it is time to renew it, or after. */
export async function workAt(agents: Agent[], now: number, chance: () => number): Promise<void> {
  const time = `time ${String(now)}`;
  const choices = [
    ["use", time],
    [time, "use"],
    [time, "introspect"],
  ];
  const orders = agents.map(() => choices[Math.floor(chance() * 16)] ?? [time]);
  agents.forEach((agent, index) => {
    for (const order of orders[index] ?? []) agent.tell(order);
  });
  for (const [index, agent] of agents.entries()) {
    for (const order of orders[index] ?? []) {
      const said = await agent.answer();
      const expected = { use: /^used$/, introspect: /^live$/ }[order] ?? /^live \d+$/;
      assert.match(said, expected, `${order} at ${new Date(now).toISOString()}`);
    }
  }
}

/** Every agent has a token that works, no session ended, and every renewal that was granted is in the file. */
export async function assertIsWhole(server: Server, agents: Agent[], file: string): Promise<number> {
  for (const agent of agents) assert.equal(await agent.ask("introspect"), "live");
  const renewals = new SessionFile(file).read().renewalCount;
  assert.equal(await server.count("SessionRenewed"), renewals, "a renewal that no process knows of");
  assert.equal(await server.count("SessionRevoked,SessionExpired"), 0);
  return renewals;
}
