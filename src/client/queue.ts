/**
 * Events between a connection that brings them and a reader that takes its time.
 *
 * Neighbouring tokens that wait are merged, as the gateway does for a reader that is behind, so what waits is bounded by
 * the length of the answer and not by its tokens.
 */
import type { TaskEvent, TokenEvent } from '../core/event.js'

type Waiter = { resolve: (result: IteratorResult<TaskEvent>) => void; reject: (error: unknown) => void }

export class EventQueue {
  #events: TaskEvent[] = []
  #waiter: Waiter | null = null
  #end: { error: unknown } | 'done' | null = null

  push(event: TaskEvent): void {
    const waiter = this.#waiter
    if (waiter) {
      this.#waiter = null
      waiter.resolve({ value: event, done: false })
      return
    }
    const last = this.#events.at(-1)
    if (event.type === 'token' && last?.type === 'token') this.#events[this.#events.length - 1] = merged(last, event)
    else this.#events.push(event)
  }

  /** Nothing follows; a reader gets what waits, and then the error, if there is one. */
  end(error: { error: unknown } | 'done'): void {
    if (this.#end) return
    this.#end = error
    const waiter = this.#waiter
    this.#waiter = null
    if (!waiter) return
    if (error === 'done') waiter.resolve({ value: undefined, done: true })
    else waiter.reject(error.error)
  }

  next(): Promise<IteratorResult<TaskEvent>> {
    const event = this.#events.shift()
    if (event) return Promise.resolve({ value: event, done: false })
    if (this.#end === 'done') return Promise.resolve({ value: undefined, done: true })
    if (this.#end) return Promise.reject(this.#end.error)
    return new Promise((resolve, reject) => {
      this.#waiter = { resolve, reject }
    })
  }
}

function merged(first: TokenEvent, second: TokenEvent): TokenEvent {
  const { from = first.seq, text, tokens, logprobs } = first
  return {
    ...second,
    from,
    text: text + second.text,
    tokens: tokens + second.tokens,
    ...(logprobs || second.logprobs ? { logprobs: [...(logprobs ?? []), ...(second.logprobs ?? [])] } : {}),
  }
}
