/**
 * One answer as its client sees it: every event once and in order, or it is counted; and when its tokens came.
 */
import { monotonicUs } from '../core/clock.js'
import { firstStamp, numberOf, typeOf } from './event-bytes.js'
import type { Measure } from './measure.js'

const TERMINAL = ['completed', 'failed', 'canceled']

/** An event as an object. */
export type PlainEvent = { seq: number; from?: number; type: string; tokens?: number; text?: string }

export class Answer {
  readonly #measure: Measure
  /** When it was to be asked for, ms: every time counts from there, however late the client was. */
  readonly #intendedAt: number
  readonly #slow: boolean
  /** Of the task; null until the server has told it. */
  id: string | null = null
  /** The seq that came last. */
  position = 0
  /** The type of its last event. */
  end: string | null = null
  #tokenAt = 0

  constructor(measure: Measure, intendedAt: number, slow: boolean) {
    this.#measure = measure
    this.#intendedAt = intendedAt
    this.#slow = slow
  }

  /** One event of the gateway, as JSON. */
  event(json: Buffer): void {
    const seq = numberOf(json, 'seq', 0)
    const type = typeOf(json)
    if (type !== 'token') this.take(seq, seq, type)
    else this.take(numberOf(json, 'from', seq), seq, type, numberOf(json, 'tokens', 1), firstStamp(json))
  }

  /** One event that was parsed. */
  plain({ seq, from = seq, type, tokens = 0, text = '' }: PlainEvent): void {
    this.take(from, seq, type, tokens, text.includes(',t=') ? firstStamp(Buffer.from(text)) : 0)
  }

  /** One event: `from` is the first seq that is merged in it, `stampUs` of its first token, 0 without one. */
  take(from: number, seq: number, type: string, tokens = 0, stampUs = 0): void {
    const measure = this.#measure
    const expected = this.position + 1
    if (from > expected) measure.lost += from - expected
    if (from < expected) measure.repeated += Math.min(seq, this.position) - from + 1
    this.position = Math.max(this.position, seq)
    if (type === 'token') this.token(tokens, stampUs)
    else if (TERMINAL.includes(type)) this.finish(type)
  }

  token(tokens: number, stampUs = 0): void {
    const measure = this.#measure
    const now = performance.now()
    measure.events++
    measure.tokens += tokens
    if (!this.#slow) {
      if (this.#tokenAt === 0) measure.time('firstToken', now - this.#intendedAt)
      else measure.time('gap', now - this.#tokenAt)
      if (stampUs > 0) measure.time('lateness', Math.max(0, monotonicUs() - stampUs) / 1000)
    }
    this.#tokenAt = now
  }

  finish(type: string): void {
    if (this.end !== null) return
    this.end = type
    this.#measure.ended(type)
    if (!this.#slow) this.#measure.time('total', performance.now() - this.#intendedAt)
  }
}
