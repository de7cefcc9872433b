/**
 * Follows one task from a position to its end, over whatever transport works, however often it has to come back.
 *
 * It holds the position, and nothing else does: every try begins there, and what a transport says after it stopped is not
 * heard. It gives up only on an answer that will not change, or when its signal aborts.
 */
import type { TaskEvent } from '../core/event.js'
import type { RejoinError } from './errors.js'
import type { Indicator, Told } from './indicator.js'
import { Backoff, type Pauses } from './pause.js'
import type { Plug } from './plug.js'
import type { Listener, Stop, Transport } from './transport.js'
import type { Ways } from './ways.js'

/** What all followers of a client share. */
export type Network = { ways: Ways; pauses: Pauses; plug: Plug; indicator: Indicator }

/** A connection that held for so long was no failure, even when nothing was said. */
const STEADY_MS = 5000

export class Follower {
  readonly #network: Network
  readonly #task: string
  readonly #onEvent: (event: TaskEvent) => void
  readonly #signal: AbortSignal
  readonly #backoff = new Backoff()
  /** The seq that came last. */
  #position: number
  #isLive = false
  #wasLive = false
  /** A transport that follows this task for somebody else. */
  #taken: Transport | null = null

  constructor(network: Network, task: string, after: number, onEvent: (event: TaskEvent) => void, signal: AbortSignal) {
    this.#network = network
    this.#task = task
    this.#position = after
    this.#onEvent = onEvent
    this.#signal = signal
  }

  /** To the end, or until the signal aborts; the error that ends it for good. */
  async run(): Promise<RejoinError | null> {
    const { indicator } = this.#network
    try {
      while (!this.#signal.aborted) {
        const refused = await this.#try()
        if (refused === 'ended') return null
        if (refused) return refused
      }
      return null
    } finally {
      indicator.remove(this)
    }
  }

  async #try(): Promise<RejoinError | 'ended' | null> {
    const { ways, plug } = this.#network
    if (plug.pulled) {
      this.#show({ status: 'unplugged', reason: 'unplugged' })
      await plug.plugged(this.#signal)
      return null
    }
    const transport = ways.pick(Date.now(), this.#taken)
    const before = this.#position
    const from = Date.now()
    // From page to page of a poll it stays live.
    if (!this.#isLive)
      this.#show({ status: this.#rejoining, transport: transport.name, attempt: this.#backoff.failures })
    const heard = new AbortController()
    const stop = await transport.follow(
      this.#task,
      before,
      this.#listener(transport, heard.signal),
      plug.guard(this.#signal),
    )
    heard.abort()
    const livedMs = Date.now() - from
    if (this.#position > before || stop.type === 'again' || livedMs > STEADY_MS) this.#backoff.reset()
    if (stop.type === 'ended') return 'ended'
    if (stop.type === 'refused') return stop.error
    if (!this.#signal.aborted && !plug.pulled) await this.#recover(transport, stop, livedMs)
    return null
  }

  async #recover(
    transport: Transport,
    stop: Exclude<Stop, { type: 'ended' | 'refused' }>,
    livedMs: number,
  ): Promise<void> {
    const { ways } = this.#network
    switch (stop.type) {
      case 'again':
        return
      case 'busy':
        this.#taken = transport
        return this.#hop(transport, 'the task is followed already')
      case 'unusable':
        ways.unusable(transport, Date.now())
        return this.#hop(transport, stop.reason)
      case 'unreachable':
        ways.forgive()
        return this.#wait(transport, stop.reason)
      case 'cut':
        // Asked to come back later: that is no fault of the transport.
        if (stop.afterMs !== undefined) return this.#wait(transport, stop.reason, stop.afterMs)
        ways.cut(transport, livedMs, Date.now())
        return this.#wait(transport, stop.reason)
      default:
        stop satisfies never
    }
  }

  /** To another transport at once; where there is none, the same one again after a while. */
  async #hop(transport: Transport, reason: string): Promise<void> {
    const other = this.#network.ways.pick(Date.now(), this.#taken) !== transport
    if (other) this.#show({ status: this.#rejoining, transport: transport.name, reason })
    else await this.#wait(transport, reason)
  }

  async #wait(transport: Transport, reason: string, atLeastMs = 0): Promise<void> {
    const ms = Math.max(this.#backoff.next(), atLeastMs)
    const { failures } = this.#backoff
    this.#show({
      status: this.#rejoining,
      transport: transport.name,
      attempt: failures,
      retryInMs: Math.round(ms),
      reason,
    })
    await this.#network.pauses.pause(ms, this.#signal)
  }

  #listener(transport: Transport, over: AbortSignal): Listener {
    return {
      live: () => {
        if (over.aborted) return
        this.#wasLive = true
        this.#show({ status: 'live', transport: transport.name })
      },
      event: (event) => {
        if (over.aborted || event.seq <= this.#position) return
        this.#position = event.seq
        this.#onEvent(event)
      },
    }
  }

  get #rejoining(): 'connecting' | 'rejoining' {
    return this.#wasLive ? 'rejoining' : 'connecting'
  }

  #show(state: Told): void {
    this.#isLive = state.status === 'live'
    this.#network.indicator.set(this, state)
  }
}
