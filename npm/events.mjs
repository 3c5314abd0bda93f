// Server-sent events, as far as the worker writes them: one `data:` line each.

/**
 * The values that a stream of events carries. One event may come in many chunks, and many in one.
 *
 * @param {AsyncIterable<Uint8Array>} body
 */
export async function* moments(body) {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of body) {
    const events = (rest + decoder.decode(chunk, { stream: true })).split("\n\n");
    rest = events.pop();
    for (const event of events) {
      if (event.startsWith("data: ")) yield JSON.parse(event.slice("data: ".length));
    }
  }
}
