/** Reads byte streams. */

/**
 * The parts of a stream. Not every browser lets one be iterated; and in Node, one whose request was aborted just after
 * its end may neither end nor fail, so that `signal` ends it here.
 */
export async function* partsOf(stream: ReadableStream<Uint8Array>, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
  const reader = stream.getReader();
  const cancel = (): void => {
    reader.cancel().catch(() => undefined);
  };
  signal?.addEventListener("abort", cancel);
  if (signal?.aborted === true) cancel();
  try {
    for (let read = await reader.read(); !read.done; read = await reader.read()) yield read.value;
    signal?.throwIfAborted();
  } finally {
    signal?.removeEventListener("abort", cancel);
    cancel();
  }
}
