/**
 * Which transport to use now: the first in the order of preference that is not resting.
 *
 * One that does not work here rests, longer each time; one whose connections die young twice in a row, too. When the
 * network itself was down, nothing is held against any of them.
 */
import type { Transport } from './transport.js'

const REST_MS = { first: 10_000, max: 300_000 }
/** A connection that lived for so long did its work, whatever cut it. */
const YOUNG_MS = 10_000
/** Many tasks lose one connection, or one network, at the same moment. */
const MOMENT_MS = 500

type Way = { transport: Transport; youngCuts: number; rests: number; restUntil: number; blamedAt: number }

export class Ways {
  readonly #ways: Way[]

  /** @param transports in the order of preference, at least one */
  constructor(transports: readonly Transport[]) {
    this.#ways = transports.map((transport) => ({
      transport,
      youngCuts: 0,
      rests: 0,
      restUntil: 0,
      blamedAt: Number.NEGATIVE_INFINITY,
    }))
  }

  /** The last one never rests. @param but one that will not do for this task */
  pick(now: number, but: Transport | null = null): Transport {
    const usable = this.#ways.filter(({ transport }) => transport !== but)
    const way = usable.find(({ restUntil }) => restUntil <= now) ?? usable.at(-1) ?? this.#ways[0]
    return (way as Way).transport
  }

  /** It was cut after so long. */
  cut(transport: Transport, livedMs: number, now: number): void {
    const way = this.#of(transport)
    if (now - way.blamedAt < MOMENT_MS) return
    way.blamedAt = now
    if (livedMs >= YOUNG_MS) {
      way.youngCuts = 0
      way.rests = 0
    } else if (++way.youngCuts === 2) this.#rest(way, now)
  }

  /** It does not work here. */
  unusable(transport: Transport, now: number): void {
    const way = this.#of(transport)
    if (way.restUntil <= now) this.#rest(way, now)
  }

  /** Nothing works at present. */
  forgive(): void {
    for (const way of this.#ways) {
      way.restUntil = 0
      way.youngCuts = 0
    }
  }

  #rest(way: Way, now: number): void {
    way.restUntil = now + Math.min(REST_MS.max, REST_MS.first * 2 ** way.rests)
    way.rests++
    way.youngCuts = 0
  }

  #of(transport: Transport): Way {
    return this.#ways.find((way) => way.transport === transport) as Way
  }
}
