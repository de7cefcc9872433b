/**
 * The clients of a run, and who of them takes the next task.
 *
 * In a closed run each begins its next task when it has the last answer. In an open one tasks are begun at their times; one
 * that finds every client busy waits for one, and that wait counts into all of its times, as it would for a user. (To leave
 * it out, and with it the tasks that a slow server was spared, is called coordinated omission.)
 */
import { Answer } from './answer.js'
import { arrivals } from './arrivals.js'
import type { Client } from './client.js'
import type { Measure } from './measure.js'
import type { Random } from './random.js'

export type Member = { client: Client; slow: boolean }

export type Pace = {
  arrivals: 'closed' | 'uniform' | 'poisson'
  ratePerS: number
  /** Null: no bound. */
  maxTasks: number | null
  /** Over which a closed run begins its clients, so that their answers do not go in step for ever. */
  spreadMs: number
}

export class Crew {
  readonly #measure: Measure
  readonly #pace: Pace
  readonly #random: Random
  readonly #free: Member[]
  readonly #waiting: number[] = []
  readonly #under = new Set<Promise<void>>()
  readonly #signal: AbortSignal
  #left: number
  #onIdle: () => void = () => {}
  #allBegun = false

  constructor(members: Member[], measure: Measure, pace: Pace, random: Random, signal: AbortSignal) {
    this.#measure = measure
    this.#pace = pace
    this.#random = random
    this.#free = [...members]
    this.#signal = signal
    this.#left = pace.maxTasks ?? Number.POSITIVE_INFINITY
  }

  /** Resolves when the last task is over, or the run is. */
  run(): Promise<void> {
    if (this.#pace.arrivals === 'closed') this.#closed()
    else this.#open(this.#pace.arrivals)
    return new Promise((resolve) => {
      this.#onIdle = resolve
      this.#signal.addEventListener('abort', () => resolve())
      this.#look()
    })
  }

  /** Resolves when everybody has stopped. */
  async settle(): Promise<void> {
    await Promise.all(this.#under)
  }

  #closed(): void {
    const members = this.#free.splice(0)
    this.#allBegun = true
    for (const [index, member] of members.entries()) {
      const begin = (): void => this.#begin(member, performance.now())
      setTimeout(begin, (index / members.length) * this.#pace.spreadMs)
    }
  }

  #open(kind: 'uniform' | 'poisson'): void {
    const start = performance.now()
    const times = arrivals(kind, this.#pace.ratePerS, this.#random)
    let next = start + (times.next().value as number)
    const come = (): void => {
      if (this.#signal.aborted) return
      for (
        ;
        next <= performance.now() && this.#left > this.#waiting.length;
        next = start + (times.next().value as number)
      ) {
        const member = this.#free.shift()
        if (member) this.#begin(member, next)
        else this.#waiting.push(next)
      }
      this.#allBegun = this.#left <= this.#waiting.length
      if (!this.#allBegun) setTimeout(come, Math.max(0, next - performance.now()))
    }
    come()
  }

  #begin(member: Member, intendedAt: number): void {
    if (this.#signal.aborted || this.#left <= 0) {
      this.#free.push(member)
      this.#look()
      return
    }
    this.#left--
    const measure = this.#measure
    measure.begun++
    measure.active++
    const following = member.client.follow(new Answer(measure, intendedAt, member.slow), this.#signal).finally(() => {
      measure.active--
      this.#under.delete(following)
      this.#next(member)
    })
    this.#under.add(following)
  }

  #next(member: Member): void {
    const waited = this.#waiting.shift()
    if (waited !== undefined) this.#measure.delayed++
    if (this.#pace.arrivals === 'closed') this.#begin(member, performance.now())
    else if (waited !== undefined) this.#begin(member, waited)
    else this.#free.push(member)
    this.#look()
  }

  #look(): void {
    if (this.#under.size === 0 && this.#allBegun && this.#left <= 0) this.#onIdle()
  }
}
