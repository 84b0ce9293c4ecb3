/** What is published is what a program gets: every entry, its types, and the examples of the page. */

import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after, test } from "node:test";

import { PACKAGE, ROOT } from "./support/server.js";

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
  mkdirSync(installed, { recursive: true });
  run("tar", "-xzf", join(folder, filename), "--strip-components=1", "-C", installed);
  for (const name of ["express", "hono", "@types"]) {
    symlinkSync(resolve(PACKAGE, "node_modules", name), join(folder, "node_modules", name));
  }
  writeFileSync(join(folder, "package.json"), '{ "type": "module" }');
}

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

test("the examples of the page compile in a program that uses the package", () => {
  const page = readFileSync(join(ROOT, "clients/typescript/README.md"), "utf8");
  const examples = [...page.matchAll(/```[jt]s\n(.*?)```/gs)].map(([, code]) => code ?? "");
  assert(examples.length >= 4);
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
