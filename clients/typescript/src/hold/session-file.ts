/**
 * The session file: where the token of a session is kept, for its owner only, and shared by several processes and
 * programs: this client, the `tenure` command, the clients of other languages.
 *
 * A reader finds the old content or the new one, never half of it, also after a power cut: each content is written
 * beside the file, synced, and renamed into its place. Writers take turns by a lock on a second file beside it.
 */

import {
  closeSync,
  fstatSync,
  openSync,
  readFileSync,
  realpathSync,
  statSync,
  utimesSync,
  type BigIntStats,
} from "node:fs";
import { open, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";

import { readGrant, UnfitGrant, type Grant } from "./grant.js";
import { lockOf, type Lock, type LockMethod } from "./lock.js";

/** A file beyond this is something else. */
const LONGEST = 64 * 1024;

/** Why a session file cannot be used. No error quotes a content. */
export class SessionFileError extends Error {
  override readonly name = "SessionFileError";
}

/** What a file held, and what tells that content from others. */
export interface Reading {
  grant: Grant;
  stamp: string;
}

/** The place of a session file. */
export class SessionFile {
  readonly path: string;
  readonly #method: LockMethod;

  /** A link is followed, so that its target is replaced and not the link. */
  constructor(path: string, method: LockMethod = "auto") {
    this.path = followed(path);
    this.#method = method;
  }

  /** What it holds. */
  read(): Grant {
    return this.readWithStamp().grant;
  }

  /** Of one and the same file, whatever takes its place meanwhile. */
  readWithStamp(): Reading {
    return this.#named(() => {
      const file = openSync(this.path, "r");
      try {
        const stats = fstatSync(file, { bigint: true });
        this.#check(stats);
        return { grant: readGrant(this.#json(readFileSync(file, "utf8"))), stamp: stampOf(stats) };
      } finally {
        closeSync(file);
      }
    });
  }

  /** Tells the present content from others without reading it; undefined when there is none. */
  stamp(): string | undefined {
    const stats = statSync(this.path, { bigint: true, throwIfNoEntry: false });
    return stats && stampOf(stats);
  }

  /** Shows the other holders of the file that there is news, though the content is the same. */
  touch(): void {
    const now = new Date();
    this.#named(() => utimesSync(this.path, now, now));
  }

  /** Does something while no other process writes. What it does ends before the lock is given back. */
  async locked<T>(work: (file: LockedFile) => Promise<T>): Promise<T> {
    const lock = await lockOf(this.path, this.#method);
    try {
      return await work(new LockedFile(this, lock));
    } finally {
      await lock.release(!exists(this.path));
    }
  }

  #json(text: string): unknown {
    try {
      return JSON.parse(text) as unknown;
    } catch {
      // The parser's own message quotes the text.
      throw new UnfitGrant("it is no JSON");
    }
  }

  #check(stats: BigIntStats): void {
    if (!stats.isFile() || stats.size > LONGEST) throw new UnfitGrant("it is no file, or too long for one");
    const mode = Number(stats.mode & 0o7777n);
    if ((mode & 0o077) === 0 || process.platform === "win32") return;
    const octal = mode.toString(8).padStart(4, "0");
    throw new SessionFileError(
      `${this.path} is open to others (mode ${octal}); its mode must be 0600: chmod 600 ${this.path}, and revoke the ` +
        "session if others may have read its token",
    );
  }

  #named<T>(work: () => T): T {
    try {
      return work();
    } catch (error) {
      throw named(this.path, error);
    }
  }
}

/** A session file that no other process writes to meanwhile. */
export class LockedFile {
  readonly #file: SessionFile;
  readonly #lock: Lock;

  constructor(file: SessionFile, lock: Lock) {
    this.#file = file;
    this.#lock = lock;
  }

  /** What the file holds now. */
  read(): Grant {
    return this.#file.read();
  }

  /** Replaces what the file holds, or makes it; it is durable when this resolves. */
  async write(grant: Grant): Promise<void> {
    const { path } = this.#file;
    const beside = `${path}.new`;
    try {
      await writeWhole(beside, `${JSON.stringify(grant, undefined, 2)}\n`);
      // A helper that holds the lock for us may have been killed: then another process may be writing.
      this.#lock.assertHeld();
      await rename(beside, path);
      await syncFolder(dirname(path));
    } catch (error) {
      throw named(path, error);
    }
  }

  /** Finds out whether the file could be written, before something is asked for that must be kept. */
  async prepare(): Promise<void> {
    const { path } = this.#file;
    try {
      if ((await stat(path).catch(() => undefined))?.isDirectory() === true) throw new UnfitGrant("it is a folder");
      await writeWhole(`${path}.new`, "");
      await rm(`${path}.new`);
    } catch (error) {
      throw named(path, error);
    }
  }
}

async function writeWhole(path: string, text: string): Promise<void> {
  // What a crash left there may be open to others, or half of something.
  await rm(path, { force: true });
  const file = await open(path, "wx", 0o600);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** A rename lasts once its folder is on the disk. */
async function syncFolder(path: string): Promise<void> {
  if (process.platform === "win32") return;
  const folder = await open(path, "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

function followed(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    const whole = resolve(path);
    try {
      return join(realpathSync(dirname(whole)), basename(whole));
    } catch {
      return whole;
    }
  }
}

function stampOf(stats: BigIntStats): string {
  return `${String(stats.dev)}:${String(stats.ino)}:${String(stats.ctimeNs)}`;
}

function exists(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false }) !== undefined;
}

function named(path: string, error: unknown): Error {
  if (error instanceof UnfitGrant) {
    const why = `${path} is no session file: ${error.message}; it must be as Tenure wrote it, see docs/client.md`;
    return new SessionFileError(why);
  }
  if (error instanceof SessionFileError) return error;
  const { code, message } = error as NodeJS.ErrnoException;
  return new SessionFileError(`${path}: ${code ?? message}`, { cause: error });
}
