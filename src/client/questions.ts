/**
 * Requests with one answer, asked until there is one that will not change.
 */
import type { RejoinError } from './errors.js'
import type { Network } from './follower.js'
import type { Answer, Http } from './http.js'
import { Backoff } from './pause.js'
import { Watchdog } from './watchdog.js'

/** For one try: a connection may be dead and nobody have been told. */
const PATIENCE_MS = 30_000

export class Questions {
  readonly #http: Http
  readonly #network: Network

  constructor(http: Http, network: Network) {
    this.#http = http
    this.#network = network
  }

  /** Asks until there is an answer that will not change. @throws RejoinError, or the signal's reason */
  async ask(path: string, init: RequestInit, signal: AbortSignal): Promise<unknown> {
    const { pauses, plug, indicator } = this.#network
    const backoff = new Backoff()
    const me = {}
    try {
      for (;;) {
        signal.throwIfAborted()
        if (plug.pulled) {
          indicator.set(me, { status: 'unplugged', reason: 'unplugged' })
          await plug.plugged(signal)
          continue
        }
        const read = await this.#try(path, init, plug.guard(signal))
        if (read.type === 'whole') return read.value
        if (read.type === 'refused') throw read.error
        signal.throwIfAborted()
        if (plug.pulled) continue
        const ms = Math.max(backoff.next(), read.afterMs ?? 0)
        const retryInMs = Math.round(ms)
        indicator.set(me, { status: 'connecting', attempt: backoff.failures, retryInMs, reason: read.reason })
        await pauses.pause(ms, signal)
      }
    } finally {
      indicator.remove(me)
    }
  }

  async #try(path: string, init: RequestInit, signal: AbortSignal): Promise<Read> {
    const watchdog = new Watchdog(signal, PATIENCE_MS)
    const read = await bodyOf(await this.#http.ask(path, { ...init, signal: watchdog.signal }))
    watchdog.end()
    return read
  }
}

type Read =
  | { type: 'whole'; value: unknown }
  | { type: 'refused'; error: RejoinError }
  | { type: 'later'; reason: string; afterMs?: number }

/** Of an answer that is cut within its body nothing is used. */
async function bodyOf(answer: Answer): Promise<Read> {
  if (answer.type === 'refused') return answer
  if (answer.type !== 'ok') return { ...answer, type: 'later' }
  try {
    return { type: 'whole', value: await answer.response.json() }
  } catch (error) {
    return { type: 'later', reason: (error as Error).message }
  }
}
