/**
 * Page by page: what works where nothing that stays open is let through.
 *
 * A page waits for the next event for as long as connections live here: that is found out by halving.
 */
import { isTerminal, type TaskEvent } from '../core/event.js'
import { type Http, reasonOf } from './http.js'
import type { Listener, Stop, Transport } from './transport.js'
import { Watchdog } from './watchdog.js'

const WAIT_S = { max: 25, min: 1 }
/** For an answer on top of its wait. */
const PATIENCE_MS = 10_000
const LIMIT = 1000

type Page = { events: TaskEvent[]; done: boolean }

export class PollTransport implements Transport {
  readonly name = 'poll'
  readonly #http: Http
  #waitS = WAIT_S.max
  /** Tasks whose last page came; the first page does not wait, and so tells at once whether this works. */
  readonly #live = new Set<string>()

  constructor(http: Http) {
    this.#http = http
  }

  async follow(task: string, after: number, listener: Listener, signal: AbortSignal): Promise<Stop> {
    const waitS = this.#live.delete(task) ? this.#waitS : 0
    const watchdog = new Watchdog(signal, waitS * 1000 + PATIENCE_MS)
    try {
      const answer = await this.#http.ask(
        `/v1/tasks/${encodeURIComponent(task)}/events?after=${after}&limit=${LIMIT}&wait=${waitS}`,
        {
          headers: { Accept: 'application/json' },
          signal: watchdog.signal,
        },
      )
      if (answer.type === 'later') return { ...answer, type: 'cut' }
      if (signal.aborted) return { type: 'again' }
      if (answer.type === 'unreachable' && waitS > 0) return this.#cut(answer.reason)
      if (answer.type !== 'ok') return answer
      const { events, done } = (await answer.response.json()) as Page
      listener.live()
      for (const event of events) listener.event(event)
      if (done || events.some(isTerminal)) return { type: 'ended' }
      this.#live.add(task)
      return { type: 'again' }
    } catch (error) {
      if (signal.aborted) return { type: 'again' }
      return this.#cut(reasonOf(error))
    } finally {
      watchdog.end()
      if (signal.aborted) this.#live.delete(task)
    }
  }

  #cut(reason: string): Stop {
    this.#waitS = Math.max(WAIT_S.min, Math.floor(this.#waitS / 2))
    return { type: 'cut', reason }
  }
}
