/**
 * Entries as server-sent events (PROTOCOL section 5; WHATWG HTML, section 9.2).
 *
 * `data` is one line of JSON: JSON escapes CR and LF, the only characters that end a line of a stream, so any
 * text arrives intact. `id` is the seq, which is how an `EventSource` comes back with its position.
 */
import type { Entry } from '../core/entry.js'
import type { Framing } from './framing.js'
import { entryJson } from './json.js'

export const SSE_HEADERS: readonly (readonly [string, string])[] = [
  ['Content-Type', 'text/event-stream'],
  ['Cache-Control', 'no-store, no-transform'],
  // nginx buffers a proxied answer unless told not to.
  ['X-Accel-Buffering', 'no'],
]

/** Readers ignore a comment; proxies see a connection that is alive. */
export const SSE_KEEP_ALIVE = ': keep-alive\n\n'

/** The shortest thing that can be written and says nothing. */
export const SSE_NOTHING = ':\n\n'

export const sseFrame = (entry: Entry): string => {
  entry.sse ??= `id: ${entry.event.seq}\nevent: ${entry.event.type}\ndata: ${entryJson(entry)}\n\n`
  return entry.sse
}

/** The native stream. First it says how long a client waits before it comes back: `random` (0 … 1) spreads a crowd that
 * lost its server at once. */
export const nativeFraming = (random: number): Framing => ({
  opening: `retry: ${Math.round(1000 + (random - 0.5) * 500)}\n\n`,
  frame: sseFrame,
})
