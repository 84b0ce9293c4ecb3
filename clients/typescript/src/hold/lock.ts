/**
 * The lock of a session file: `flock` on `FILE.lock`, which every program that writes session files takes.
 *
 * Node has no `flock`, so a small program is asked for it:
 *
 * - `flock` of util-linux or busybox locks a file that this process has opened and handed to it. The lock is then this
 *   process's own, and ends with it, however it ends.
 * - `tenure session lock FILE` holds the lock in a process of its own, until the pipe to its stdin closes, which it does
 *   when this process ends.
 */

import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { constants, fstatSync, rmSync, statSync } from "node:fs";
import { open, type FileHandle } from "node:fs/promises";

/** How the lock is taken; `auto` is `flock` where there is one, and `tenure` elsewhere. */
export type LockMethod = "auto" | "flock" | "tenure";

/** A lock that this process has. */
export interface Lock {
  /** Throws when it was lost. */
  assertHeld(): void;
  /** Gives it back; `isLast` removes its file too, for without a session file there is nothing to lock. */
  release(isLast: boolean): Promise<void>;
}

/** The lock cannot be taken. */
export class LockError extends Error {
  override readonly name = "LockError";
}

/** An interrupt that is typed on the terminal is for this process; it decides when its lock ends. */
const APART = { detached: true, windowsHide: true } as const;

/** Waits until no other process has it. */
export async function lockOf(path: string, method: LockMethod): Promise<Lock> {
  if (method === "tenure") return await byTenure(path);
  try {
    return await byFlock(`${path}.lock`);
  } catch (error) {
    if (method === "flock" || !isMissing(error)) throw error;
    return await byTenure(path);
  }
}

async function byFlock(path: string): Promise<Lock> {
  for (;;) {
    const file = await open(path, constants.O_WRONLY | constants.O_CREAT, 0o600);
    try {
      await flock(file);
      // The one that was waited for may have removed it.
      if (isAt(file, path)) return { assertHeld: () => undefined, release: (isLast) => unlock(file, path, isLast) };
    } catch (error) {
      await file.close();
      throw error;
    }
    await file.close();
  }
}

/** The lock belongs to the open file, so it stays when the program that took it has ended. */
async function flock(file: FileHandle): Promise<void> {
  const child = spawn("flock", ["-x", "3"], { ...APART, stdio: ["ignore", "ignore", "ignore", file.fd] });
  const [code] = (await once(child, "exit")) as [number | null];
  if (code !== 0) throw new LockError(`flock failed: exit code ${String(code)}`);
}

async function unlock(file: FileHandle, path: string, isLast: boolean): Promise<void> {
  if (isLast && isAt(file, path)) rmSync(path, { force: true });
  await file.close();
}

/** Whether an open file is the one at this path, and not one that was there before. */
function isAt(file: FileHandle, path: string): boolean {
  const [one, other] = [fstatSync(file.fd), statSync(path, { throwIfNoEntry: false })];
  return one.dev === other?.dev && one.ino === other.ino;
}

async function byTenure(path: string): Promise<Lock> {
  const program = process.env["TENURE_BIN"] ?? "tenure";
  const child = spawn(program, ["session", "lock", path], { ...APART, stdio: ["pipe", "pipe", "ignore"] });
  // Writing to it is no use, and that its reader has gone is told by its exit.
  child.stdin.on("error", () => undefined);
  try {
    await Promise.race([once(child.stdout, "data"), endOf(child)]);
  } catch (error) {
    if (!isMissing(error)) throw error;
    throw new LockError(`the lock of ${path} needs \`flock\` (util-linux) or \`${program}\` in the PATH`);
  }
  return {
    assertHeld: () => {
      if (child.exitCode !== null || child.signalCode !== null) throw new LockError(`the lock of ${path} was lost`);
    },
    release: async () => {
      const ended = once(child, "exit").catch(() => undefined);
      child.stdin.end();
      if (child.exitCode === null && child.signalCode === null) await ended;
    },
  };
}

/** Rejects when a program ends, or cannot be started. */
async function endOf(child: ChildProcess): Promise<never> {
  const [code] = (await once(child, "exit")) as [number | null];
  throw new LockError(`tenure session lock ended with ${String(code)} before it had the lock`);
}

/** Whether there is no such program. */
function isMissing(error: unknown): boolean {
  const { code, syscall } = error as NodeJS.ErrnoException;
  return code === "ENOENT" && syscall?.startsWith("spawn") === true;
}
