/** What a power cut leaves: the new content is on the disk before it has its name, and the name before it is used. */

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

import { PACKAGE } from "./support/server.js";

const GRANT = {
  version: 1,
  url: "http://127.0.0.1:9",
  sessionId: "019375c1-6a3e-7c52-9d5e-0f2b8a1c4e77",
  subjectId: "agent-7",
  token: "tnr_sess_first",
  ttl: 3_600,
  expiresAt: "2026-11-21T02:00:00.000Z",
  absoluteExpiresAt: "2026-11-28T01:00:00.000Z",
  renewAt: null,
  renewalCount: 0,
  maxRenewals: 30,
  renewalKey: null,
};

/** Under CI nothing is left out. */
const isLeftOut = spawnSync("strace", ["-V"]).status !== 0 && (process.env["CI"] ?? "") === "";

test(
  "a content is synced, then named, then its folder is synced",
  { skip: isLeftOut && "strace is not installed" },
  () => {
    const folder = mkdtempSync(join(tmpdir(), "tenure-ts-"));
    try {
      const [file, trace] = [join(folder, "agent.session"), join(folder, "trace")];
      writeFileSync(file, JSON.stringify(GRANT), { mode: 0o600 });
      const program = `
      import { SessionFile } from "@tenure/client/hold";
      const file = new SessionFile(process.argv[1]);
      await file.locked((locked) => locked.write({ ...locked.read(), renewalCount: 1 }));
    `;
      const calls = "openat,fsync,fdatasync,rename,renameat,renameat2";
      const node = [process.execPath, "--input-type=module", "-e", program, file];
      const traced = spawnSync("strace", ["-f", "-y", "-o", trace, "-e", `trace=${calls}`, ...node], {
        cwd: PACKAGE,
        encoding: "utf8",
      });
      assert.equal(traced.status, 0, traced.stderr);
      const lines = readFileSync(trace, "utf8").split("\n");
      const order = [
        /fsync\(\d+<[^>]*agent\.session\.new>/,
        /rename\w*\(.*agent\.session\.new.*agent\.session"/,
        /fsync\(\d+<[^>]*>/,
      ];
      const places = order.reduce<number[]>((found, call) => {
        const from = (found.at(-1) ?? -1) + 1;
        const at = lines.slice(from).findIndex((line) => call.test(line));
        return [...found, at === -1 ? Infinity : from + at];
      }, []);
      assert(places.every(Number.isFinite), lines.filter((line) => line.includes(folder)).join("\n"));
      assert.match(lines[places[2] ?? 0] ?? "", new RegExp(`fsync\\(\\d+<${folder}>`));
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  },
);
