/**
 * Rows of logits as a language model gives them, from a seed, for the tests and the benchmark of the sampler.
 */
import { uniform } from '../../src/model/random.js'
import type { SamplerSettings } from '../../src/model/sampler.js'

/** Nothing is cut, changed or preferred. */
export const NEUTRAL: SamplerSettings = {
  temperature: 1,
  topK: 0,
  topP: 1,
  minP: 0,
  repetitionPenalty: 1,
  presencePenalty: 0,
  frequencyPenalty: 0,
  logitBias: [],
  seed: 0,
}

export type Shape = 'peaked' | 'flat'

/**
 * `peaked`: a broad bell for nearly all of the vocabulary and, far above it, a few hundred tokens that go down as the
 * logarithm of their rank, which is where a model that knows what comes next puts its probability; about 100 tokens
 * make 0.9 of it. `flat`: one narrow bell, so that most of the vocabulary is in any nucleus: the worst case for top_p.
 */
export const rowOf = (shape: Shape, vocabulary: number, seed: number): Float32Array => {
  const random = numbers(seed)
  const width = shape === 'peaked' ? 2.2 : 0.5
  const row = Float32Array.from({ length: vocabulary }, () => width * bell(random))
  if (shape === 'flat') return row
  const ranks = Math.min(300, vocabulary >> 2)
  for (let rank = 1; rank <= ranks; rank++) {
    row[Math.floor(random() * vocabulary)] = 18 - 1.2 * Math.log(rank) + 0.3 * bell(random)
  }
  return row
}

const numbers = (seed: number): (() => number) => {
  let position = 0
  return () => uniform(seed, position++)
}

/** Mean 0, standard deviation 1 (Box and Muller). */
const bell = (random: () => number): number => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random())
