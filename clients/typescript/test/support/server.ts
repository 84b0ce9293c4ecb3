/** The real binary, on a data directory and an address of its own. */

import assert from "node:assert/strict";
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";

import { Client, type NewSession } from "@tenure/client";
import { createSessionFile } from "@tenure/client/hold";

/** This package; its tests run with it as their working directory. */
export const PACKAGE = process.cwd();
/** The repository. */
export const ROOT = process.env["TENURE_TEST_ROOT"] ?? resolve(PACKAGE, "../..");
/** The binary under test: that of this repository, unless the environment names another. */
export const BINARY = process.env["TENURE_TEST_BINARY"] ?? resolve(ROOT, "target/debug/tenure");
/** A failed test may leave a holder behind, with which its file would never end. */
const DEADLINE = process.env["TENURE_TEST_PROCESSES"] === undefined ? 300_000 : 3_600_000;
setTimeout(() => process.exit(1), DEADLINE).unref();

// What holds the lock for those who ask the command for it.
process.env["TENURE_BIN"] = BINARY;

assert(existsSync(BINARY), `${BINARY} is missing: build it, or name another by TENURE_TEST_BINARY`);

export interface ServerOptions {
  /** Time is that of the machine, and the test does not move it. */
  realTime?: boolean;
  /** Each `name=value`. */
  settings?: string[];
  /** Its data is restored from this backup, with keys from another place, and in another epoch. */
  restored?: { backup: string; keys: string };
}

export class Server implements AsyncDisposable {
  readonly url: string;
  readonly admin: string;
  /** Goes with the server. */
  readonly folder: string;
  readonly #process: ChildProcess;

  private constructor(process: ChildProcess, url: string, folder: string) {
    this.#process = process;
    this.url = url;
    this.folder = folder;
    this.admin = readFileSync(join(folder, "data/admin.key"), "utf8").trim();
  }

  static async start({ realTime = false, settings = [], restored }: ServerOptions = {}): Promise<Server> {
    const folder = mkdtempSync(join(tmpdir(), "tenure-ts-"));
    if (restored !== undefined) {
      const from = [restored.backup, "--keys", restored.keys, "--accept-loss"];
      const { code, said } = await tenure("restore", "--data", join(folder, "data"), ...from);
      assert.equal(code, 0, said);
    }
    const set = settings.flatMap((setting) => ["--set", setting]);
    const clock = realTime ? [] : ["--test-clock"];
    const args = ["serve", "--data", join(folder, "data"), "--listen", "127.0.0.1:0", ...clock, ...set];
    const child = spawn(BINARY, args, { stdio: ["ignore", "ignore", "pipe"] });
    const said: string[] = [];
    const lines = createInterface({ input: child.stderr });
    const listening = new Promise<string>((found, failed) => {
      lines.on("line", (line) => {
        said.push(line);
        const address = /listening on (http:\/\/\S+)/.exec(line)?.[1];
        if (address !== undefined) found(address);
      });
      child.once("exit", () => {
        failed(new Error(`the server does not listen; it said: ${said.join("\n")}`));
      });
    });
    return new Server(child, await listening, folder);
  }

  /** A client with the first admin key. */
  get client(): Client {
    return new Client(this.url, { credential: this.admin });
  }

  /** A request of an admin that the client has no word for. */
  async ask<T>(method: string, target: string, body?: unknown): Promise<T> {
    const headers = { authorization: `Bearer ${this.admin}`, "content-type": "application/json" };
    const init = body === undefined ? { method, headers } : { method, headers, body: JSON.stringify(body) };
    const response = await fetch(this.url + target, init);
    const text = await response.text();
    assert(response.ok, `${method} ${target}: ${String(response.status)} ${text}`);
    return JSON.parse(text) as T;
  }

  async register(subject: string, body: object = {}): Promise<void> {
    await this.ask("PUT", `/v1/subjects/${subject}`, body);
  }

  /** A new API key. */
  async issueKey(role: string): Promise<string> {
    const { key } = await this.ask<{ key: string }>("POST", "/v1/credentials", { role });
    return key;
  }

  /** A session of a subject that is registered for it, in a file whose address may be a proxy's. */
  async sessionFile(session: NewSession, url = this.url, name = "agent.session"): Promise<string> {
    await this.register(session.subjectId);
    const path = join(this.folder, name);
    await createSessionFile(new Client(url, { credential: this.admin }), session, path);
    return path;
  }

  async now(): Promise<number> {
    const { now } = await this.ask<{ now: string }>("GET", "/v1/clock");
    return Date.parse(now);
  }

  async setClock(to: number): Promise<void> {
    await this.ask("PUT", "/v1/clock", { to: new Date(to).toISOString() });
  }

  async advance(seconds: number): Promise<void> {
    await this.ask("PUT", "/v1/clock", { advance: seconds });
  }

  /** How many events of these kinds are recorded. */
  async count(kinds: string): Promise<number> {
    let [count, after] = [0, "0"];
    for (;;) {
      const page = await this.ask<{ items: { position: number }[]; nextCursor: string | null }>(
        "GET",
        `/v1/events?kinds=${kinds}&limit=200&after=${after}`,
      );
      count += page.items.length;
      if (page.nextCursor === null) return count;
      after = String(page.items.at(-1)?.position ?? after);
      if (page.items.length === 0) return count;
    }
  }

  /** Kills it; its folder stays. */
  async kill(): Promise<void> {
    if (this.#process.signalCode !== null) return;
    const ended = once(this.#process, "exit");
    this.#process.kill("SIGKILL");
    await ended;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Runs the `tenure` command; resolves with its exit code and what it said. */
export async function tenure(...args: string[]): Promise<{ code: number | null; said: string }> {
  const child = spawn(BINARY, args, { stdio: ["ignore", "pipe", "pipe"] });
  let said = "";
  child.stdout.on("data", (part: Buffer) => (said += part.toString()));
  child.stderr.on("data", (part: Buffer) => (said += part.toString()));
  const [code] = (await once(child, "close")) as [number | null];
  return { code, said };
}
