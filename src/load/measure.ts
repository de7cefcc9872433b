/**
 * What a load test has seen: times in histograms, a point for every stretch of time, and what went wrong.
 *
 * Times count from the end of the warm-up on; what is lost, repeated or refused counts always.
 */
import { Histogram } from '../core/histogram.js'

/** Ms. From the moment at which its task was to begin, where nothing else is said. */
export type Times = {
  firstToken: Histogram
  /** From one token event of an answer to the next. */
  gap: Histogram
  /** From the moment at which a stamped token fell due to its arrival. */
  lateness: Histogram
  total: Histogram
  /** From the attempt to come back to the first byte of what follows. */
  resume: Histogram
}

/** What happened in one stretch of time; times are ms, 0 without any. */
export type Point = {
  /** Its end, seconds since the end of the warm-up. */
  atS: number
  tokensPerS: number
  eventsPerS: number
  firstTokenP50: number
  firstTokenP99: number
  gapP50: number
  gapP99: number
  latenessP99: number
  /** Answers under way at its end. */
  active: number
}

const newTimes = (): Times => ({
  firstToken: new Histogram(),
  gap: new Histogram(),
  lateness: new Histogram(),
  total: new Histogram(),
  resume: new Histogram(),
})

export class Measure {
  /** Of the whole run, without slow readers. */
  readonly times = newTimes()
  readonly points: Point[] = []
  readonly errors = new Map<string, number>()
  /** How tasks ended, by the type of their last event. */
  readonly ends = new Map<string, number>()
  tokens = 0
  events = 0
  bytes = 0
  begun = 0
  /** Begun and not over. */
  active = 0
  cuts = 0
  resumes = 0
  lost = 0
  repeated = 0
  /** Begun later than they were to be, because every client was busy. */
  delayed = 0
  measuring = false
  #recent = newTimes()
  #since = 0
  #start = 0
  #tokens = 0
  #events = 0

  /** The warm-up is over. */
  start(nowMs: number): void {
    this.measuring = true
    this.#start = nowMs
    this.#since = nowMs
    this.tokens = 0
    this.events = 0
    this.bytes = 0
    this.begun = 0
    this.cuts = 0
    this.resumes = 0
    this.delayed = 0
    this.ends.clear()
  }

  time(what: keyof Times, ms: number): void {
    if (!this.measuring) return
    this.times[what].record(ms)
    this.#recent[what].record(ms)
  }

  error(code: string): void {
    this.errors.set(code, (this.errors.get(code) ?? 0) + 1)
  }

  ended(type: string): void {
    this.ends.set(type, (this.ends.get(type) ?? 0) + 1)
  }

  /** Ends a stretch of time. */
  point(nowMs: number): Point {
    const seconds = Math.max(0.001, (nowMs - this.#since) / 1000)
    const { firstToken, gap, lateness } = this.#recent
    const point: Point = {
      atS: (nowMs - this.#start) / 1000,
      tokensPerS: (this.tokens - this.#tokens) / seconds,
      eventsPerS: (this.events - this.#events) / seconds,
      firstTokenP50: firstToken.quantile(0.5),
      firstTokenP99: firstToken.quantile(0.99),
      gapP50: gap.quantile(0.5),
      gapP99: gap.quantile(0.99),
      latenessP99: lateness.quantile(0.99),
      active: this.active,
    }
    this.points.push(point)
    this.#since = nowMs
    this.#tokens = this.tokens
    this.#events = this.events
    this.#recent = newTimes()
    return point
  }
}
