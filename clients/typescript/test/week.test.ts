/**
 * A week in which many processes share one session file, and every tenth reply is lost: 8 of them, or as many as
 * `TENURE_TEST_PROCESSES` says.
 */

import assert from "node:assert/strict";
import { test } from "node:test";

import { Agent } from "./support/agent.js";
import { Proxy, chanceOf } from "./support/proxy.js";
import { Server } from "./support/server.js";
import { SEED, TTL, WEEK, assertIsWhole, lossy, workAt } from "./support/week.js";

const PROCESSES = Number(process.env["TENURE_TEST_PROCESSES"] ?? 8);
/** So far the clock moves at a time, in seconds: between a `renewAt` and the end of the period are 48 minutes at least. */
const STEP = PROCESSES > 8 ? 600 : 1_200;

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
