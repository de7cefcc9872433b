/**
 * Server-sent events over fetch, which unlike an `EventSource` can send a key and tells why it was refused.
 *
 * The gateway writes at once, and something every 15 s, so silence means that somebody between us keeps the bytes.
 */
import { createParser } from 'eventsource-parser'
import { isTerminal, type TaskEvent } from '../core/event.js'
import { type Http, reasonOf } from './http.js'
import type { Listener, Stop, Transport } from './transport.js'
import { Watchdog } from './watchdog.js'

export type SseTimes = {
  /** Until the first byte. */
  firstMs: number
  /** From byte to byte. */
  silenceMs: number
}

export class SseTransport implements Transport {
  readonly name = 'sse'
  readonly #http: Http
  readonly #times: SseTimes

  constructor(http: Http, times: SseTimes) {
    this.#http = http
    this.#times = times
  }

  async follow(task: string, after: number, listener: Listener, signal: AbortSignal): Promise<Stop> {
    const { firstMs, silenceMs } = this.#times
    const watchdog = new Watchdog(signal, firstMs)
    try {
      const answer = await this.#http.ask(`/v1/tasks/${encodeURIComponent(task)}/events?after=${after}`, {
        headers: { Accept: 'text/event-stream' },
        signal: watchdog.signal,
      })
      if (watchdog.barked) return { type: 'unusable', reason: `no event stream within ${firstMs} ms` }
      if (answer.type === 'later') return { ...answer, type: 'cut' }
      if (answer.type !== 'ok') return answer
      // The terminal event had been seen.
      if (answer.response.status === 204) return { type: 'ended' }
      const ended = await this.#read(answer.response, listener, watchdog)
      return ended ? { type: 'ended' } : { type: 'cut', reason: 'the event stream ended early' }
    } catch (error) {
      if (!watchdog.barked) return { type: 'cut', reason: reasonOf(error) }
      return { type: 'unusable', reason: `the event stream was silent for ${silenceMs} ms` }
    } finally {
      watchdog.end()
    }
  }

  /** True when the terminal event came. */
  async #read({ body }: Response, listener: Listener, watchdog: Watchdog): Promise<boolean> {
    if (body === null) return false
    let ended = false
    const parser = createParser({
      onEvent: ({ data }) => {
        const event = JSON.parse(data) as TaskEvent
        ended ||= isTerminal(event)
        listener.event(event)
      },
    })
    const reader = body.getReader()
    const decoder = new TextDecoder()
    let live = false
    try {
      while (!ended) {
        const { value, done } = await reader.read()
        if (done) break
        watchdog.pat(this.#times.silenceMs)
        if (!live) listener.live()
        live = true
        parser.feed(decoder.decode(value, { stream: true }))
      }
      return ended
    } finally {
      void reader.cancel().catch(() => {})
    }
  }
}
