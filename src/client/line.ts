/**
 * An open WebSocket and the tasks that are followed on it, until it ends; it closes itself when none is.
 *
 * A browser tells nothing of a connection that died in silence, so it is asked: after a while without a word, a ping.
 */
import { isTerminal, type TaskEvent } from '../core/event.js'
import { mayChange, RejoinError } from './errors.js'
import type { Listener, Stop } from './transport.js'

/** What every runtime's WebSocket has. */
export interface SocketLike {
  readonly readyState: number
  send(data: string): void
  close(code?: number): void
  addEventListener(type: string, listener: (event: { data?: unknown; code?: number }) => void): void
}

export type LineTimes = {
  /** Without a word until it is asked. */
  quietMs: number
  /** Until a ping is answered. */
  pongMs: number
  /** It stays open for so long without a task. */
  lingerMs: number
}

const OPEN = 1
/** WebSocket close codes (RFC 6455, section 7.4.1, and the IANA registry). */
const CLOSE = { protocol: 1002, policy: 1008, tooBig: 1009, restart: 1012, tryAgain: 1013 }
/** A gateway that restarts is there again soon, and all of its clients with it. */
const RESTART_MS = 1000

/** What came before the answer with its `ref` was meant for an earlier subscription to the same task. */
type Subscription = { ref: number; live: boolean; listener: Listener; stop: (stop: Stop) => void }

/** Of a task. */
type Frame =
  | { type: 'unsubscribed'; task: string }
  | { type: 'subscribed'; task: string; ref: number; ended?: boolean }
  | { type: 'error'; task: string; ref?: number; error: { code: string; message: string; param: string | null } }
  | TaskEvent

export class Line {
  readonly #socket: SocketLike
  readonly #times: LineTimes
  readonly #onEnd: () => void
  readonly #subscriptions = new Map<string, Subscription>()
  #timer: ReturnType<typeof setTimeout> | undefined
  #linger: ReturnType<typeof setTimeout> | undefined
  #refs = 0
  #ended = false

  constructor(socket: SocketLike, times: LineTimes, onEnd: () => void) {
    this.#socket = socket
    this.#times = times
    this.#onEnd = onEnd
    socket.addEventListener('message', ({ data }) => this.#received(String(data)))
    socket.addEventListener('close', ({ code }) => this.#end(stopOf(code ?? 1006)))
    this.#listen()
    this.#rest()
  }

  follow(task: string, after: number, listener: Listener, signal: AbortSignal): Promise<Stop> {
    if (this.#ended || this.#socket.readyState !== OPEN) {
      return Promise.resolve({ type: 'cut', reason: 'the WebSocket was closed' })
    }
    if (this.#subscriptions.has(task)) return Promise.resolve({ type: 'busy' })
    return new Promise((resolve) => {
      const onAbort = (): void => {
        this.#send({ type: 'unsubscribe', task })
        stop({ type: 'again' })
      }
      const stop = (why: Stop): void => {
        signal.removeEventListener('abort', onAbort)
        this.#subscriptions.delete(task)
        this.#rest()
        resolve(why)
      }
      clearTimeout(this.#linger)
      signal.addEventListener('abort', onAbort)
      const ref = ++this.#refs
      this.#subscriptions.set(task, { ref, live: false, listener, stop })
      this.#send({ type: 'subscribe', ref, task, after })
    })
  }

  close(reason: string): void {
    this.#socket.close()
    // The close event may take long to come, when nobody answers.
    this.#end({ type: 'cut', reason })
  }

  #send(frame: Record<string, unknown>): void {
    if (this.#socket.readyState === OPEN) this.#socket.send(JSON.stringify(frame))
  }

  #received(text: string): void {
    if (this.#ended) return
    this.#listen()
    const frame = frameOf(text)
    if (frame === null) this.close('the WebSocket says what no gateway says')
    // A pong names no task.
    const subscription = frame && this.#subscriptions.get(frame.task)
    if (!subscription) return
    const { ref, listener, stop } = subscription
    if ('seq' in frame) {
      if (!subscription.live) return
      listener.event(frame)
      if (isTerminal(frame)) stop({ type: 'ended' })
    } else if (frame.type !== 'unsubscribed' && frame.ref === ref) {
      if (frame.type === 'error') stop(refusal(frame.error))
      else this.#begun(subscription, frame.ended === true)
    }
  }

  #begun(subscription: Subscription, ended: boolean): void {
    subscription.live = true
    subscription.listener.live()
    if (ended) subscription.stop({ type: 'ended' })
  }

  /** Asks when nothing is heard, and gives up when nothing answers. */
  #listen(): void {
    const { quietMs, pongMs } = this.#times
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => {
      this.#send({ type: 'ping' })
      this.#timer = setTimeout(() => this.close('the WebSocket was silent'), pongMs)
    }, quietMs)
  }

  /** Closes it when no task is followed for a while. */
  #rest(): void {
    clearTimeout(this.#linger)
    if (this.#subscriptions.size > 0 || this.#ended) return
    this.#linger = setTimeout(() => this.close('idle'), this.#times.lingerMs)
  }

  #end(stop: Stop): void {
    if (this.#ended) return
    this.#ended = true
    clearTimeout(this.#timer)
    clearTimeout(this.#linger)
    this.#onEnd()
    for (const subscription of [...this.#subscriptions.values()]) subscription.stop(stop)
  }
}

/** Null for what is no frame: something between us answers in the gateway's place. */
function frameOf(text: string): Frame | null {
  try {
    return JSON.parse(text) as Frame
  } catch {
    return null
  }
}

function refusal({ code, message, param }: Extract<Frame, { type: 'error' }>['error']): Stop {
  if (mayChange(code)) return { type: 'cut', reason: code }
  return { type: 'refused', error: new RejoinError(code, message, null, param) }
}

function stopOf(code: number): Stop {
  const reason = `the WebSocket was closed (${code})`
  switch (code) {
    case CLOSE.restart:
      return { type: 'cut', reason, afterMs: Math.random() * RESTART_MS }
    case CLOSE.tryAgain:
      return { type: 'cut', reason, afterMs: RESTART_MS * (1 + Math.random()) }
    case CLOSE.protocol:
    case CLOSE.policy:
    case CLOSE.tooBig:
      return { type: 'unusable', reason }
    default:
      return { type: 'cut', reason }
  }
}
