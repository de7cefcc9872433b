/**
 * The sampler as its definitions say, by sorting the whole vocabulary: what the fast one must agree with, and what the
 * benchmark compares it to.
 */
import { uniform } from '../../src/model/random.js'
import type { SamplerSettings } from '../../src/model/sampler.js'

type Filters = Pick<SamplerSettings, 'temperature' | 'topK' | 'topP' | 'minP'>

/** Ids from the likeliest to the least likely that is left, and their weights; the likeliest weighs 1. */
export const allowedBySorting = (logits: Float32Array, filters: Filters): { ids: number[]; weights: number[] } => {
  const { temperature, topK, topP, minP } = filters
  const sorted = new Uint32Array(logits.length).map((_, id) => id)
  sorted.sort((a, b) => (logits[b] as number) - (logits[a] as number) || a - b)
  const max = logits[sorted[0] as number] as number
  const ids: number[] = []
  const weights: number[] = []
  for (const id of topK > 0 ? sorted.subarray(0, topK) : sorted) {
    ids.push(id)
    weights.push(Math.exp(((logits[id] as number) - max) / temperature))
  }
  const enough = topP * weights.reduce((sum, weight) => sum + weight, 0)
  let count = 0
  for (let reached = 0; count < ids.length && (count === 0 || topP === 1 || reached < enough); count++) {
    const weight = weights[count] as number
    if (weight < minP) break
    reached += weight
  }
  return { ids: ids.slice(0, count), weights: weights.slice(0, count) }
}

/** What `Sampler.sample` gives when there is neither bias nor penalty, and a temperature over 0. */
export const sampleBySorting = (logits: Float32Array, settings: SamplerSettings, position: number): number => {
  const { ids, weights } = allowedBySorting(logits, settings)
  const max = logits[ids[0] as number] as number
  let rest = uniform(settings.seed, position) * weights.reduce((sum, weight) => sum + weight, 0)
  const ascending = Uint32Array.from(ids).sort()
  for (const id of ascending) {
    const weight = Math.exp(((logits[id] as number) - max) / settings.temperature)
    if (rest < weight) return id
    rest -= weight
  }
  return ascending.at(-1) ?? -1
}
