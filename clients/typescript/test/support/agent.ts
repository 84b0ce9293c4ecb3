/** The parent's end of an agent, see `agent-program.ts`. */

import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { resolve } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

import type { LockMethod } from "@tenure/client/hold";

import { ROOT } from "./server.js";

const PROGRAM = fileURLToPath(new URL("agent-program.js", import.meta.url));

export interface AgentOptions {
  file: string;
  url: string;
  verifierKey: string;
}

/** The command line of an agent. */
export type AgentProgram = (options: AgentOptions) => string[];

export const typescriptAgent =
  (lock: LockMethod = "auto"): AgentProgram =>
  ({ file, url, verifierKey }) => [process.execPath, PROGRAM, file, url, verifierKey, lock];

/** That of the Python client's own tests, which takes the same orders. */
export const pythonAgent =
  (python: string, kind: "blocking" | "asyncio"): AgentProgram =>
  ({ file, url, verifierKey }) => [
    python,
    resolve(ROOT, "clients/python/tests/agent.py"),
    file,
    url,
    verifierKey,
    kind,
  ];

export class Agent implements AsyncDisposable {
  readonly #process: ChildProcess;
  readonly #said: AsyncIterator<string>;

  constructor(options: AgentOptions, program = typescriptAgent()) {
    const [command, ...args] = program(options) as [string, ...string[]];
    const environment = {
      ...process.env,
      PYTHONPATH: resolve(ROOT, "clients/python/src"),
      PYTHONDONTWRITEBYTECODE: "1",
    };
    const child = spawn(command, args, { stdio: ["pipe", "pipe", "inherit"], env: environment });
    this.#process = child;
    this.#said = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  }

  tell(order: string): void {
    this.#process.stdin?.write(`${order}\n`);
  }

  /** What it says to the order that it was told first of those not answered. */
  async answer(): Promise<string> {
    const said = (await this.#said.next()) as IteratorResult<string, undefined>;
    if (said.done === true) throw new Error("the agent has ended");
    return said.value;
  }

  async ask(order: string): Promise<string> {
    this.tell(order);
    return await this.answer();
  }

  /** Without a warning, wherever it is. */
  async kill9(): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    const ended = once(this.#process, "exit");
    this.#process.kill("SIGKILL");
    await ended;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill9();
  }
}
