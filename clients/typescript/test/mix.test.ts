/**
 * The same week for programs that were written in different languages: this client, the `tenure` command, which is the
 * Rust client, and the Python client where `TENURE_TEST_PYTHON_CLIENT` names a Python that has what it needs.
 */

import assert from "node:assert/strict";
import { test } from "node:test";

import { SessionFile } from "@tenure/client/hold";

import { Agent, pythonAgent, typescriptAgent, type AgentOptions } from "./support/agent.js";
import { Proxy, chanceOf } from "./support/proxy.js";
import { Server, tenure } from "./support/server.js";
import { SEED, TTL, WEEK, assertIsWhole, lossy, workAt } from "./support/week.js";

/** So far the clock moves at a time, in seconds. */
const STEP = 1_200;
const PYTHON = process.env["TENURE_TEST_PYTHON_CLIENT"];

/** Two of each language, with either lock. */
function crew(options: AgentOptions): Agent[] {
  const programs = [typescriptAgent("flock"), typescriptAgent("tenure")];
  if (PYTHON !== undefined) programs.push(pythonAgent(PYTHON, "blocking"), pythonAgent(PYTHON, "asyncio"));
  return programs.map((program) => new Agent(options, program));
}

test("programs of several languages share one file for a week and lose every tenth reply", async () => {
  await using server = await Server.start();
  const lost = { count: 0 };
  await using proxy = await Proxy.before(server.url, lossy(lost));
  const file = await server.sessionFile({ subjectId: "agent-7", ttl: TTL, maxRenewals: 100 }, server.url);
  const through = new SessionFile(file);
  // The command asks the server that the file names.
  await through.locked((locked) => locked.write({ ...locked.read(), url: proxy.url }));
  const verifierKey = await server.issueKey("verifier");
  const agents = crew({ file, url: proxy.url, verifierKey });
  try {
    const [chance, start] = [chanceOf(SEED), await server.now()];
    let byCommand = 0;
    for (let passed = 0; passed <= WEEK; passed += STEP) {
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
