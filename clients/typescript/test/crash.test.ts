/** A process that is killed in the middle of a renewal loses nothing: the next one finishes it. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { SessionFile, type LockMethod } from "@tenure/client/hold";

import { Agent, typescriptAgent } from "./support/agent.js";
import { Proxy, type Fate } from "./support/proxy.js";
import { Server } from "./support/server.js";

/** A session that is due for renewal, and a network that keeps its first renewal from being answered. */
class Ground implements AsyncDisposable {
  readonly #agents: Agent[] = [];

  private constructor(
    readonly server: Server,
    readonly proxy: Proxy,
    readonly file: string,
    readonly verifierKey: string,
    readonly renewalAsked: Promise<void>,
  ) {}

  static async whereTheFirstRenewalMeets(fate: Fate): Promise<Ground> {
    const server = await Server.start();
    const file = await server.sessionFile({ subjectId: "agent-7", ttl: 3_600 });
    await server.advance(3_000);
    let [asked, isFirst] = [(): void => undefined, true];
    const renewalAsked = new Promise<void>((resolve) => (asked = resolve));
    const proxy = await Proxy.before(server.url, (request) => {
      if (request.method !== "PUT" || !isFirst) return "pass";
      isFirst = false;
      asked();
      return fate;
    });
    return new Ground(server, proxy, file, await server.issueKey("verifier"), renewalAsked);
  }

  /** One that has been told what time it is. */
  async agent(lock: LockMethod = "auto"): Promise<Agent> {
    const agent = new Agent(
      { file: this.file, url: this.proxy.url, verifierKey: this.verifierKey },
      typescriptAgent(lock),
    );
    this.#agents.push(agent);
    agent.tell(`time ${String(await this.server.now())}`);
    return agent;
  }

  async untilGranted(): Promise<void> {
    while ((await this.renewed()) === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  }

  renewed(): Promise<number> {
    return this.server.count("SessionRenewed");
  }

  read(): ReturnType<SessionFile["read"]> {
    return new SessionFile(this.file).read();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const agent of this.#agents) await agent.kill9();
    await this.proxy[Symbol.asyncDispose]();
    await this.server[Symbol.asyncDispose]();
  }
}

for (const lock of ["flock", "tenure"] as const) {
  test(`killed before the request arrived the next process renews under the key in the file (${lock})`, async () => {
    await using ground = await Ground.whereTheFirstRenewalMeets("holdRequest");
    const first = await ground.agent(lock);
    await ground.renewalAsked;
    assert.notEqual(ground.read().renewalKey, null, "the key is on disk before the request leaves");
    await first.kill9();
    assert.equal(await ground.renewed(), 0);

    const second = await ground.agent(lock);
    assert.equal(await second.answer(), "live 1");
    assert.deepEqual([await second.ask("introspect"), await ground.renewed()], ["live", 1]);
  });

  test(`killed between the grant and the file the next process gets the same renewal again (${lock})`, async () => {
    await using ground = await Ground.whereTheFirstRenewalMeets("holdReply");
    const first = await ground.agent(lock);
    await ground.renewalAsked;
    await ground.untilGranted();
    await first.kill9();
    assert.equal(ground.read().renewalCount, 0, "the reply never came");

    const second = await ground.agent(lock);
    assert.equal(await second.answer(), "live 1");
    assert.deepEqual([await second.ask("introspect"), await ground.renewed()], ["live", 1]);
    const { renewalCount, renewalKey } = ground.read();
    assert.deepEqual([renewalCount, renewalKey], [1, null]);
  });

  test(`processes that wait for one that is killed take over (${lock})`, async () => {
    await using ground = await Ground.whereTheFirstRenewalMeets("holdReply");
    const first = await ground.agent(lock);
    await ground.renewalAsked;
    const others = await Promise.all([ground.agent("flock"), ground.agent("tenure"), ground.agent(lock)]);
    // Superseded by a renewal whose reply no process has: its user waits for the lock, too.
    for (const agent of others) agent.tell("use");
    await first.kill9();
    for (const agent of others) assert.deepEqual([await agent.answer(), await agent.answer()], ["live 1", "used"]);
    assert.equal(await ground.renewed(), 1);
  });
}

test("killed with a lost reply long after the old period the next process still gets its answer", async () => {
  await using ground = await Ground.whereTheFirstRenewalMeets("holdReply");
  const first = await ground.agent();
  await ground.renewalAsked;
  await ground.untilGranted();
  await first.kill9();
  // The old period ended at 3 600 s; the one that was granted is due at 4 800 s at the earliest, and ends at 6 600 s.
  await ground.server.advance(1_000);
  const second = await ground.agent();
  assert.equal(await second.answer(), "live 1");
  assert.equal(await second.ask("use"), "used");
});

test("a helper that is killed while it holds the lock costs a renewal that is asked for again, and no write", async () => {
  await using ground = await Ground.whereTheFirstRenewalMeets("pass");
  const file = new SessionFile(ground.file, "tenure");
  const before = file.read();
  const written = file.locked(async (locked) => {
    await killChildren();
    await locked.write({ ...before, renewalCount: 7 });
  });
  await assert.rejects(written, /was lost/);
  assert.deepEqual(file.read(), before);
});

/** Ends the programs that this process has started, but for the server. */
async function killChildren(): Promise<void> {
  const { execFileSync } = await import("node:child_process");
  const list = execFileSync("ps", ["--ppid", String(process.pid), "-o", "pid=,args="], { encoding: "utf8" });
  for (const line of list.split("\n"))
    if (line.includes("session lock")) process.kill(Number.parseInt(line), "SIGKILL");
  await new Promise((resolve) => setTimeout(resolve, 50));
}
