/**
 * A week in which many processes share one session file, and every tenth reply is lost: 8 of them, or as many as
 * `TENURE_TEST_PROCESSES` says.
 */

import assert from "node:assert/strict";
import { test } from "node:test";

import { SessionFile } from "@tenure/client/hold";

import { Agent } from "./support/agent.js";
import { Proxy, chanceOf } from "./support/proxy.js";
import { Server, tenure } from "./support/server.js";

const PROCESSES = Number(process.env["TENURE_TEST_PROCESSES"] ?? 8);
const SEED = 0x007e_0075;
/** Four hours: 100 renewals at most are enough for a week, at 50 % of the period each. */
const TTL = 14_400;
/** So far the clock moves at a time, in seconds; between a `renewAt` and the end of the period are 48 minutes at least. */
const STEP = 600;
const WEEK = 7 * 86_400;

const lossy = (lost: { count: number }): (() => "pass" | "loseReply") => {
  const chance = chanceOf(SEED);
  return () => {
    if (chance() > 0.1) return "pass";
    lost.count += 1;
    return "loseReply";
  };
};

/** Tells all what time it is, while some use the session: before they know that it is time to renew it, or after. */
async function workAt(agents: Agent[], now: number, chance: () => number): Promise<void> {
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
async function assertIsWhole(server: Server, agents: Agent[], file: string): Promise<number> {
  for (const agent of agents) assert.equal(await agent.ask("introspect"), "live");
  const renewals = new SessionFile(file).read().renewalCount;
  assert.equal(await server.count("SessionRenewed"), renewals, "a renewal that no process knows of");
  assert.equal(await server.count("SessionRevoked,SessionExpired"), 0);
  return renewals;
}

test("many processes share a session for a week and lose every tenth reply", async () => {
  await using server = await Server.start();
  const lost = { count: 0 };
  await using proxy = await Proxy.before(server.url, lossy(lost));
  const file = await server.sessionFile({ subjectId: "agent-7", ttl: TTL, maxRenewals: 100 });
  const verifierKey = await server.issueKey("verifier");
  const agents = Array.from({ length: PROCESSES }, () => new Agent({ file, url: proxy.url, verifierKey }));
  try {
    const [chance, start] = [chanceOf(SEED), await server.now()];
    for (let passed = 0; passed <= WEEK; passed += STEP) {
      await server.setClock(start + passed * 1000);
      await workAt(agents, start + passed * 1000, chance);
    }
    const renewals = await assertIsWhole(server, agents, file);
    // Between 50 % and 80 % of the period, and a step or two more where a reply was lost.
    assert(renewals >= WEEK / (TTL * 0.8 + 2 * STEP) && renewals <= WEEK / (TTL / 2), `${String(renewals)} renewals`);
    assert.equal(await server.count("RenewalRejected"), 0);
    console.log(`${String(renewals)} renewals in a week, ${String(lost.count)} replies lost`);
    assert(lost.count > 10 * Math.sqrt(PROCESSES), `only ${String(lost.count)} replies were lost`);
  } finally {
    for (const agent of agents) await agent.kill9();
  }
});

test("the tenure command and this client share one file for a week and lose every tenth reply", async () => {
  await using server = await Server.start();
  const lost = { count: 0 };
  await using proxy = await Proxy.before(server.url, lossy(lost));
  const file = await server.sessionFile({ subjectId: "agent-7", ttl: TTL, maxRenewals: 100 }, server.url);
  const through = new SessionFile(file);
  // The command asks the server that the file names.
  await through.locked((locked) => locked.write({ ...locked.read(), url: proxy.url }));
  const verifierKey = await server.issueKey("verifier");
  const agents = ["flock", "auto"].map(
    (lock) => new Agent({ file, url: proxy.url, verifierKey, lock: lock as "flock" | "auto" }),
  );
  try {
    const [chance, start] = [chanceOf(SEED), await server.now()];
    let byCommand = 0;
    for (let passed = 0; passed <= WEEK; passed += STEP * 2) {
      const now = start + passed * 1000;
      await server.setClock(now);
      const isDue = now >= Date.parse(through.read().renewAt ?? "");
      // Now the command comes first, now the agents, now both at once.
      const command = isDue && chance() < 0.7 ? tenure("session", "renew", "--session-file", file) : undefined;
      if (chance() < 0.5) await command;
      await workAt(agents, now, chance);
      if ((await command)?.code === 0) byCommand += 1;
    }
    const renewals = await assertIsWhole(server, agents, file);
    console.log(
      `${String(renewals)} renewals, ${String(byCommand)} by the command, ${String(lost.count)} replies lost`,
    );
    assert(byCommand > 10 && byCommand < renewals, `${String(byCommand)} of ${String(renewals)} by the command`);
  } finally {
    for (const agent of agents) await agent.kill9();
  }
});
