/** The parts that need no server. */

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { test } from "node:test";

import { Client, ERROR_CODES, ServerTime } from "@tenure/client";

import { PACKAGE, ROOT } from "./support/server.js";

/** A part that is not exported to others. */
async function part<T>(name: string): Promise<T> {
  return (await import(resolve(PACKAGE, "dist", `${name}.js`))) as T;
}

const at = (text: string): number => Date.parse(text);

test("the errors that are named here are those of the authority's own table", () => {
  const page = readFileSync(resolve(ROOT, "docs/http-api.md"), "utf8");
  const table = /<!-- generated: errors -->(.*?)<!-- end: errors -->/s.exec(page)?.[1] ?? "";
  const codes = new Set([...table.matchAll(/^\| `([A-Z_]+)` \|/gm)].map(([, code]) => code));
  assert.deepEqual([...ERROR_CODES].sort(), [...codes].sort());
});

test("time is the server's, counted on by a clock that cannot be set, and never goes back", () => {
  const machine = { wallNow: at("2026-11-21T01:35:00Z"), since: 0 };
  const time = new ServerTime({ wall: () => machine.wallNow, elapsed: () => machine.since });
  assert.equal(time.now(), machine.wallNow, "before any reply this machine's clock is believed");
  time.heard(machine.wallNow + 1_900);
  assert.equal(time.now(), machine.wallNow, "clocks that nearly agree are left alone");
  const there = machine.wallNow + 3_600_000;
  time.heard(there);
  machine.wallNow -= 7_200_000;
  machine.since += 1_000;
  assert.equal(time.now(), there + 1_000, "the machine's clock was set back");
  time.heard(there - 1_800_000);
  assert.equal(time.now(), there + 1_000, "a reply came late, or was a cache's");
});

test("waits double up to twenty seconds, half of it at random, and the authority may ask for more within reason", async () => {
  const { backoff } = await part<{ backoff: (failures: number, wish?: number, chance?: number) => number }>("backoff");
  assert.deepEqual(
    [1, 2, 3, 4, 5, 6, 99].map((failures) => backoff(failures, 0, 1) / 1000),
    [1, 2, 4, 8, 16, 20, 20],
  );
  assert.equal(backoff(6, 0, 0), 10_000);
  assert.equal(backoff(1, 30_000), 30_000);
  assert.equal(backoff(1, 3_600_000), 60_000);
});

test("keys and tokens leave by https, or stay on this machine", () => {
  for (const url of ["https://tenure.example/under/", "http://localhost:7300", "http://127.9.9.9", "http://[::1]:1"]) {
    assert.equal(new Client(url).url, url.replace(/\/$/, ""));
  }
  for (const url of [
    "http://tenure.example",
    "http://10.0.0.7",
    "http://127.0.0.1.example",
    "ftp://h",
    "x",
    "https://h?a=b",
  ]) {
    assert.throws(() => new Client(url), url);
  }
  assert.throws(
    () => new Client("https://name:secret@h"),
    (error) => !(error as Error).message.includes("secret"),
  );
  assert.equal(new Client("http://tenure.example", { allowPlaintext: true }).url, "http://tenure.example");
});

test("no id leaves its place in the address", async () => {
  const { targetOf } = await part<{ targetOf: (base: URL, request: object) => URL }>("http");
  const target = targetOf(new URL("http://h/under/"), {
    path: ["v1", "subjects", "a/../b?c=d#é"],
    query: { device: "a b&c" },
  });
  assert.equal(target.href, "http://h/under/v1/subjects/a%2F..%2Fb%3Fc%3Dd%23%C3%A9?device=a+b%26c");
});

test("a stream is read however it is cut, with comments and several lines of data", async () => {
  const { eventsOf } = await part<{ eventsOf: (stream: ReadableStream) => AsyncIterable<unknown> }>("sse");
  const text =
    ': alive\r\n\r\nevent: ended\ndata: {"a":\ndata: 1}\nid: 7\n\ndata:é\n\nevent: lost\ndata: no blank line follows';
  const bytes = new TextEncoder().encode(text);
  for (const size of [1, 2, 3, 7, 1_000]) {
    const stream = new ReadableStream({
      start(controller) {
        for (let at = 0; at < bytes.length; at += size) controller.enqueue(bytes.slice(at, at + size));
        controller.close();
      },
    });
    const events = [];
    for await (const event of eventsOf(stream)) events.push(event);
    const ended = { event: "ended", data: '{"a":\n1}', id: "7" };
    assert.deepEqual(events, [undefined, ended, { event: "message", data: "é", id: "7" }], `cut after ${String(size)}`);
  }
});

test("BLAKE2b is that of OpenSSL", async () => {
  const { blake2b } = await part<{ blake2b: (message: Uint8Array, length: number) => Uint8Array }>("verify/blake2b");
  for (const length of [0, 1, 127, 128, 129, 256, 1_000]) {
    const message = Uint8Array.from({ length }, (_, index) => index % 251);
    const expected = createHash("blake2b512").update(message).digest("hex");
    assert.equal(Buffer.from(blake2b(message, 64)).toString("hex"), expected, String(length));
  }
});

test("a member that is named twice is found, however it is written and wherever else its name stands", async () => {
  const { namesTwice } = await part<{ namesTwice: (json: string) => boolean }>("verify/json");
  for (const twice of ['{"a":1,"a":1}', '{"a":{"b":[1]},"c":"}","\\u0061":2}']) assert(namesTwice(twice), twice);
  for (const once of ['{"a":{"a":1},"b":"a"}', '{"a":["a",{"a":":"}],"b\\"":":"}', "{}", '{"a\\\\":1,"a":":"}']) {
    assert(!namesTwice(once), once);
  }
});

test("claims that are missing, repeated, of a wrong type or not understood make a token unfit", async () => {
  const { claimsOf } = await part<{ claimsOf: (payload: string) => object }>("verify/claims");
  const payload = {
    iss: "tenure",
    sub: "agent-7",
    sid: "019375c1-6a3e-7c52-9d5e-0f2b8a1c4e77",
    aud: "orders",
    scopes: ["orders:read"],
    iat: "2026-11-21T10:00:00.000Z",
    nbf: "2026-11-21T10:00:00.000Z",
    exp: "2026-11-21T10:30:00.000Z",
    jti: "x",
  };
  const read = (change: object): object => claimsOf(JSON.stringify({ ...payload, ...change }));
  assert.doesNotThrow(() => read({ aud: undefined, level: { of: ["assurance"] } }));
  for (const name of ["iss", "sub", "sid", "scopes", "iat", "nbf", "exp", "jti"]) {
    for (const value of [undefined, null, 7]) assert.throws(() => read({ [name]: value }), name);
  }
  const unfit = [
    { aud: ["orders"] },
    { exp: "2026-11-21T10:30:00.001Z" },
    { exp: "tomorrow" },
    { crit: ["x"] },
    { cnf: null },
  ];
  for (const change of unfit) assert.throws(() => read(change), JSON.stringify(change));
  assert.throws(() => claimsOf(JSON.stringify(payload).replace("{", '{"iss":"tenure",')));
  assert.throws(() => claimsOf("[]"));
});

test("revocations cover what could be meant, are bounded, and are forgotten when no token can meet them", async () => {
  interface Book {
    covers(claims: object): boolean;
    learn(at: number, target: unknown): void;
    forgetBefore(now: number): void;
    size: number;
  }
  const { Revocations, REMEMBERED } = await part<{ Revocations: new (capacity: number) => Book; REMEMBERED: number }>(
    "verify/revocations",
  );
  const claims = (sub: string, sid: string, issuedAt: number): object => ({ sub, sid, issuedAt });
  const book = new Revocations(100);
  book.learn(10_000, { session: "s1" });
  assert(book.covers(claims("a", "s1", 99_000)) && !book.covers(claims("a", "s2", 1)));
  book.learn(10_000, { subject: "b", kept: "s3" });
  assert(book.covers(claims("b", "s4", 15_000)), "signed while it was written");
  assert(
    !book.covers(claims("b", "s4", 15_001)) && !book.covers(claims("b", "s3", 1)) && !book.covers(claims("c", "s4", 1)),
  );
  book.learn(20_000, { subject: "b", kept: "s4" });
  assert(book.covers(claims("b", "s3", 1)) && book.covers(claims("b", "s4", 1)), "each is met by the other");
  book.forgetBefore(10_000 + REMEMBERED);
  assert.equal(book.size, 1);
  book.learn(30_000, "everyone");
  assert(book.covers(claims("z", "z", 35_000)) && !book.covers(claims("z", "z", 35_001)));

  const flood = new Revocations(1_000);
  for (let number = 0; number < 50_000; number += 1) flood.learn(number * 10, { session: String(number) });
  assert.equal(flood.size, 1_000);
  assert(flood.covers(claims("a", "0", 0)) && flood.covers(claims("a", "49999", 900_000)));
  assert(!flood.covers(claims("a", "other", 499_990)), "signed after all that was widened");
  for (let number = 0; number < 9; number += 1)
    flood.learn(600_000 + number, { subject: "many", kept: String(number) });
  assert(flood.covers(claims("many", "4", 600_000)), "a subject of many rules is judged more coarsely");
});

test("numbers of a page of revocations stand in the history that its end names", async () => {
  interface Page {
    items: { position: unknown }[];
    head: unknown;
  }
  const { pageOf, isLast } = await part<{
    pageOf: (body: unknown, after: unknown) => Page;
    isLast: (page: Page) => boolean;
  }>("verify/wire");
  const page = (positions: number[], nextAfter: unknown, after: unknown): Page => {
    const item = { at: "2026-11-21T10:00:00Z", sessionId: "019375c1-6a3e-7000-8000-000000000001" };
    const items = positions.map((position) => ({ ...item, position }));
    return pageOf({ items, nextAfter, head: 9, now: "2026-11-21T10:00:00Z" }, after);
  };
  const first = page([3, 7], "2:7", 0);
  assert.deepEqual([first.items.map(({ position }) => position), first.head], [["2:3", "2:7"], "2:9"]);
  assert(!isLast(first));
  assert(isLast(page([8], "2:9", "2:7")));
  assert(isLast(page([8], 9, 7)));
});
