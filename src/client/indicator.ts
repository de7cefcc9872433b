/**
 * How the connection is doing, as one state for a page's indicator: that of the task that is worst off.
 */
import type { TransportName } from './transport.js'

export type ConnectionState = {
  /** `idle`: no task is followed. `unplugged`: cut on purpose, see `Rejoin.unplug`. */
  status: 'idle' | 'connecting' | 'live' | 'rejoining' | 'unplugged'
  /** In use, or tried now; null when there is none. */
  transport: TransportName | null
  /** Failures in a row. */
  attempt: number
  /** While it waits before the next try. */
  retryInMs: number | null
  /** Why it is not live. */
  reason: string | null
}

const IDLE: ConnectionState = { status: 'idle', transport: null, attempt: 0, retryInMs: null, reason: null }
/** What there is to say of a state. */
export type Told = Pick<ConnectionState, 'status'> & Partial<ConnectionState>

/** From worst to best. */
const ORDER = ['unplugged', 'rejoining', 'connecting', 'live'] as const

export class Indicator {
  readonly #onState: (state: ConnectionState) => void
  readonly #states = new Map<object, ConnectionState>()
  #shown = IDLE

  constructor(onState: (state: ConnectionState) => void) {
    this.#onState = onState
  }

  get state(): ConnectionState {
    return this.#shown
  }

  /** @param follower whose state it is; what is not said is as when idle */
  set(follower: object, state: Told): void {
    this.#states.set(follower, { ...IDLE, ...state })
    this.#show()
  }

  remove(follower: object): void {
    this.#states.delete(follower)
    this.#show()
  }

  #show(): void {
    const states = [...this.#states.values()]
    const worst = ORDER.map((status) => states.find((state) => state.status === status)).find((state) => state)
    const next = worst ?? IDLE
    const shown = this.#shown
    const same = (Object.keys(IDLE) as (keyof ConnectionState)[]).every((key) => shown[key] === next[key])
    if (same) return
    this.#shown = next
    this.#onState(next)
  }
}
