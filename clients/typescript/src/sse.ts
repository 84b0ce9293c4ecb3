/** Reads server-sent events: <https://html.spec.whatwg.org/multipage/server-sent-events.html>. */

import { partsOf } from "./streams.js";

export interface ServerSentEvent {
  /** `message` where the stream names none. */
  event: string;
  data: string;
  /** The last id that the stream has told. */
  id: string;
}

/** No line of the authority's is longer; a stream that has one is not believed. */
const LONGEST_LINE = 8 * 1024 * 1024;

/**
 * The events of a stream, in order. A comment is told as `undefined`, so that a reader can see that the other side lives.
 */
export async function* eventsOf(
  stream: ReadableStream<Uint8Array>,
  signal?: AbortSignal,
): AsyncGenerator<ServerSentEvent | undefined> {
  let [event, id, data] = ["", "", undefined as string | undefined];
  for await (const line of linesOf(stream, signal)) {
    if (line === "") {
      if (data !== undefined) yield { event: event === "" ? "message" : event, data, id };
      [event, data] = ["", undefined];
      continue;
    }
    const [, name, value] = /^([^:]*):? ?(.*)$/s.exec(line) as unknown as [string, string, string];
    if (name === "") yield undefined;
    if (name === "event") event = value;
    if (name === "id" && !value.includes("\0")) id = value;
    if (name === "data") data = data === undefined ? value : `${data}\n${value}`;
  }
}

async function* linesOf(stream: ReadableStream<Uint8Array>, signal?: AbortSignal): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const part of partsOf(stream, signal)) {
    rest += decoder.decode(part, { stream: true });
    // A carriage return at the end may be the first half of a line's end.
    const lines = rest.split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop() ?? "";
    yield* lines;
    if (rest.length > LONGEST_LINE) throw new Error("a line of the stream does not end");
  }
}
