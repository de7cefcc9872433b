/**
 * One way to hear of a task: over a WebSocket, as server-sent events, or page by page.
 *
 * A transport knows nothing of retries. It delivers events after a position for as long as it can, and says why it
 * stopped; `Follower` decides what comes next, and holds the position.
 */
import type { TaskEvent } from '../core/event.js'
import type { RejoinError } from './errors.js'

export type TransportName = 'websocket' | 'sse' | 'poll'

export type Stop =
  /** The terminal event was delivered. */
  | { type: 'ended' }
  /** There is more, and asking again at once is the way to it. */
  | { type: 'again' }
  /** The connection was lost, or the gateway asked to come back later. `afterMs`: not before that. */
  | { type: 'cut'; reason: string; afterMs?: number }
  /** Nothing answers: the network is down, or the gateway is. */
  | { type: 'unreachable'; reason: string }
  /** It follows this task already, and can do so only once. */
  | { type: 'busy' }
  /** This transport does not work here, another may. */
  | { type: 'unusable'; reason: string }
  /** An answer that will not change. */
  | { type: 'refused'; error: RejoinError }

export interface Listener {
  /** The gateway has answered: what follows is live. */
  live(): void
  event(event: TaskEvent): void
}

export interface Transport {
  readonly name: TransportName
  /** Delivers the events of a task after a position. An abort stops it; what it says then does not matter. */
  follow(task: string, after: number, listener: Listener, signal: AbortSignal): Promise<Stop>
}
