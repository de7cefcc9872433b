/**
 * An event on its way to readers, with the bytes that each protocol made of it.
 *
 * Many readers of one task want the same event at the same moment; the first encodes it here and the rest
 * send the same bytes. The fields belong to `wire/`, which alone knows the encodings.
 */
import type { TaskEvent } from './event.js'

export class Entry {
  readonly event: TaskEvent
  /** One SSE frame. */
  sse: string | null = null
  /** One JSON object: a WebSocket text frame, or an item of a page. */
  json: string | null = null
  /** One msgpack value: a WebSocket binary frame. */
  msgpack: Uint8Array | null = null

  constructor(event: TaskEvent) {
    this.event = event
  }

  /** Drops the encodings. */
  forget(): void {
    this.sse = null
    this.json = null
    this.msgpack = null
  }
}
