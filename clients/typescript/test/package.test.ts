/** What is published is what a program gets: every entry, its types, and the examples of the page. */

import assert from "node:assert/strict";
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after, test } from "node:test";

import { createSessionFile } from "@tenure/client/hold";

import { application } from "./support/application.js";
import { PACKAGE, ROOT, Server } from "./support/server.js";

/** A program's folder, with the packed package in its packages. */
const folder = mkdtempSync(join(tmpdir(), "tenure-consumer-"));
after(() => rmSync(folder, { recursive: true, force: true }));

const installed = join(folder, "node_modules/@tenure/client");

/** Runs a program in the folder; what it said is shown when it fails. */
function run(command: string, ...args: string[]): string {
  const { status, stdout, stderr } = spawnSync(command, args, { cwd: folder, encoding: "utf8" });
  assert.equal(
    status,
    0,
    `${command} ${args.join(" ")}
${stdout}${stderr}`,
  );
  return stdout;
}

function install(): void {
  const packed = JSON.parse(
    execFileSync("npm", ["pack", "--json", "--ignore-scripts", "--pack-destination", folder], {
      cwd: PACKAGE,
      encoding: "utf8",
    }),
  ) as [{ filename: string; files: { path: string }[] }];
  const [{ filename, files }] = packed;
  assert.deepEqual(
    files.filter(({ path }) => !/^(dist|examples)\/|^(package\.json|README\.md|LICENSE-\w+)$/.test(path)),
    [],
  );
  assert(page.includes(`/${filename}\n`), `the page installs another file than ${filename}`);
  mkdirSync(installed, { recursive: true });
  run("tar", "-xzf", join(folder, filename), "--strip-components=1", "-C", installed);
  for (const name of ["express", "hono", "@types"]) {
    symlinkSync(resolve(PACKAGE, "node_modules", name), join(folder, "node_modules", name));
  }
  writeFileSync(join(folder, "package.json"), '{ "type": "module" }');
}

/** The examples of the page, in its order. */
const page = readFileSync(join(ROOT, "clients/typescript/README.md"), "utf8");
const examples = [...page.matchAll(/```[jt]s\n(.*?)```/gs)].map(([, code]) => code ?? "");

install();

test("every entry can be imported, and depends on nothing that is not installed", () => {
  const { exports, dependencies } = JSON.parse(readFileSync(join(installed, "package.json"), "utf8")) as {
    exports: Record<string, unknown>;
    dependencies?: object;
  };
  assert.equal(dependencies, undefined);
  rmSync(join(folder, "node_modules/express"));
  rmSync(join(folder, "node_modules/hono"));
  for (const entry of Object.keys(exports).filter((name) => name !== "./package.json")) {
    const name = entry.replace(".", "@tenure/client");
    const count = `console.log(Object.keys(await import("${name}")).length)`;
    assert.notEqual(run(process.execPath, "--input-type=module", "-e", count), "0\n", name);
  }
  for (const name of ["express", "hono"])
    symlinkSync(resolve(PACKAGE, "node_modules", name), join(folder, "node_modules", name));
});

/** Runs an example, with what only the reader knows in place of what stands there, and more behind it. */
async function example(index: number, replaced: Record<string, string>, more: string, key: string): Promise<string> {
  let code = examples[index] ?? "";
  for (const [there, here] of Object.entries(replaced)) {
    assert(code.includes(there), there);
    code = code.replaceAll(there, here);
  }
  const name = `run-${String(index)}.mjs`;
  writeFileSync(join(folder, name), `${code}\n${more}`);
  const child = spawn(process.execPath, [name], { cwd: folder, env: { ...process.env, TENURE_KEY: key } });
  let [said, wrong] = ["", ""];
  child.stdout.on("data", (part: Buffer) => (said += part.toString()));
  child.stderr.on("data", (part: Buffer) => (wrong += part.toString()));
  const [status] = (await once(child, "close")) as [number | null];
  assert.equal(status, 0, wrong);
  return said;
}

test("the examples of the page run", async () => {
  await using server = await Server.start({ settings: ["server.public_url=https://tenure.example"] });
  await server.register("agent-7");
  const terms = { subjectId: "agent-7", ttl: 3600, scopes: ["orders:read", "payments"] };
  await createSessionFile(server.client, terms, join(folder, "agent-7.session"));
  // The shop is the authority's own page of health: what counts is that it is asked.
  const shop = { "https://shop.example/orders": `${server.url}/healthz` };
  const held = await example(0, shop, "await session.revoke(); await session.ended;", server.admin);
  assert.match(held, /^the session is over: \{/);

  const authority = { "https://tenure.example": server.url };
  assert.equal(await example(1, authority, "console.log(judged.active);", server.admin), "true\n");

  const { token } = await server.client.createSession(terms);
  const { accessToken } = await server.client.with({ credential: token }).mintAccessToken({ audience: "orders" });
  const asking = `
    await verifier.ready();
    const listener = app.listen(0, "127.0.0.1", async () => {
      const ask = async (method, path, token) => {
        const headers = { authorization: "Bearer " + token };
        const reply = await fetch("http://127.0.0.1:" + listener.address().port + path, { method, headers });
        console.log(reply.status, reply.ok ? await reply.text() : "");
      };
      await ask("GET", "/orders", "${accessToken}");
      await ask("POST", "/payments", "${token}");
      await ask("POST", "/payments", "${accessToken}");
      process.exit(0);
    });`;
  const guards = { 'url: "https://tenure.example"': `url: "${server.url}"` };
  const answered = await example(2, guards, asking, await server.issueKey("verifier"));
  assert.equal(answered, "200 the orders of agent-7\n200 paid by agent-7\n401 \n");
});

test("the example for a browser hears of the end of its visitor's session", async () => {
  await using server = await Server.start({ realTime: true });
  await server.register("visitor");
  const { sessionId, token } = await server.client.createSession({ subjectId: "visitor" });
  const app = await application(server, token, []);
  try {
    const origin = `http://127.0.0.1:${String((app.address() as AddressInfo).port)}`;
    // What a browser has and Node has not, and what the application says to its page.
    const there = `const sessionId = "${sessionId}"; globalThis.location = { origin: "${origin}", assign: console.log };`;
    const importing = 'import { pageSession } from "@tenure/client/browser";';
    const said = await example(3, { [importing]: `${importing}\n${there}` }, "await session.revoke();", "");
    assert.equal(said, "/signed-out?why=SESSION_REVOKED\n");
  } finally {
    app.close();
    app.closeAllConnections();
  }
});

test("the page names no command that the package has not", () => {
  const { scripts } = JSON.parse(readFileSync(join(PACKAGE, "package.json"), "utf8")) as { scripts: object };
  const named = [...page.matchAll(/npm (?:run (\w+)|(test))/g)].map(([, script, test]) => script ?? test ?? "");
  assert(named.includes("build") && named.includes("lint") && named.includes("test"));
  for (const name of named) assert(name in scripts, name);
});

test("the examples of the page compile in a program that uses the package", () => {
  assert.equal(examples.length, 4);
  const context = "declare const sessionId: string; declare const location: { assign(url: string): void };\n";
  const names = examples.map((code, index) => {
    const name = `example-${String(index)}.ts`;
    writeFileSync(
      join(folder, name),
      context + code.replaceAll("process.env.TENURE_KEY", 'process.env["TENURE_KEY"] ?? ""'),
    );
    return name;
  });
  const strict = ["--noEmit", "--strict", "--target", "es2022", "--module", "nodenext", "--skipLibCheck"];
  run(resolve(PACKAGE, "node_modules/.bin/tsc"), ...strict, ...names);
});

test("a page's program needs the types of browsers only", () => {
  const page =
    'import { pageSession } from "@tenure/client/browser";\nimport { Client } from "@tenure/client";\nexport { pageSession, Client };\n';
  writeFileSync(join(folder, "page.ts"), page);
  const compilerOptions = {
    ...{ noEmit: true, strict: true, target: "es2022", module: "esnext", moduleResolution: "bundler" },
    ...{ lib: ["es2023", "dom", "dom.iterable"], types: [], skipLibCheck: false },
  };
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify({ compilerOptions, files: ["page.ts"] }));
  run(resolve(PACKAGE, "node_modules/.bin/tsc"), "--project", folder);
});
