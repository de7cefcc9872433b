/**
 * When tasks are to be begun, ms from the start. Drawn without regard to how the server keeps up: that is what makes the
 * load an open one.
 */
import type { Random } from './random.js'

/** @param ratePerS of all together */
export function* arrivals(kind: 'uniform' | 'poisson', ratePerS: number, random: Random): Generator<number> {
  const meanMs = 1000 / ratePerS
  for (let atMs = 0; ; ) {
    yield atMs
    atMs += kind === 'uniform' ? meanMs : random.exponential(meanMs)
  }
}
