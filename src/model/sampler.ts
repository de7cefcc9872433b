/**
 * From a row of logits to a token id: logit_bias, penalties, temperature, top_k, top_p, min_p, in this order. The
 * filters and the repetition penalty mean what Hugging Face `generate` means, bias and the other two what OpenAI does.
 *
 * The result is a pure function of the arguments, the random number too, so an answer that lost its process goes on as
 * it would have gone. A `Sampler` holds nothing but room to compute in, one for all rows of a thread, because
 * allocating megabytes for each token would cost more than choosing it.
 *
 * The vocabulary is never sorted. Greedy, top_k and min_p are passes of comparisons, and weigh only what they keep; a
 * top_p without top_k, or no filter at all, needs the sum of all the weights and so one exponential for each token.
 */
import { decay } from './decay.js'
import type { History } from './history.js'
import { type Penalties, penalize } from './penalties.js'
import { uniform } from './random.js'
import { argmax, BLOCK, type Edge, edgeOf, gatherFrom, gatherOver, nextOver, notFinite } from './select.js'

/** A `Sampling` with every default filled in. */
export type SamplerSettings = Penalties & {
  /** 0 takes the likeliest token, the lower id where two are equal. */
  temperature: number
  /** Keep the k likeliest, lower ids first where equal; 0 = all. */
  topK: number
  /** Keep the smallest set of likeliest tokens whose probability reaches this, 0 … 1; 1 = all. */
  topP: number
  /** Drop what is less likely than this share of the likeliest, 0 … 1; 0 = none. */
  minP: number
  /** Any safe integer. */
  seed: number
}

/**
 * What may be drawn: ids ascending, and their probabilities up to a common factor; that of the likeliest token is 1.
 * One with a weight of 0 is never drawn. Views of the sampler's room: good until its next call.
 */
export type Candidates = { ids: Int32Array; weights: Float64Array }

export class Sampler {
  readonly #vocabulary: number
  /** 0, 1, 2 …: the ids of a row of which nothing was dropped yet. */
  readonly #every: Int32Array
  readonly #ids: Int32Array
  /** Of the candidates, ascending by id; logits first and then weights in float64, because float32 sums drift. */
  readonly #weights: Float64Array
  /** Places among the candidates, and weights: what a filter looks at more closely. */
  readonly #places: Int32Array
  readonly #spare: Float64Array
  /** Of each block of weights: a draw looks for its block first and then inside it. */
  readonly #sums: Float64Array

  /** Takes 32 bytes for each id of the vocabulary. */
  constructor(vocabulary: number) {
    this.#vocabulary = vocabulary
    this.#every = Int32Array.from({ length: vocabulary }, (_, id) => id)
    this.#ids = new Int32Array(vocabulary)
    this.#weights = new Float64Array(vocabulary)
    this.#places = new Int32Array(vocabulary)
    this.#spare = new Float64Array(vocabulary)
    this.#sums = new Float64Array(Math.ceil(vocabulary / BLOCK))
  }

  /**
   * The id of the next token.
   * @param logits [vocabulary], changed in place by bias and penalties
   * @param position the token's number in the answer, from 0
   * @throws RejoinError `model_failed` when the model gave no finite logit
   */
  sample(logits: Float32Array, settings: SamplerSettings, history: History, position: number): number {
    penalize(logits, settings, history)
    if (settings.temperature === 0 || settings.topK === 1) return argmax(logits)
    const { ids, weights } = this.candidates(logits, settings)
    return ids[this.#pick(weights, uniform(settings.seed, position))] as number
  }

  /** What is left after every filter; the likeliest token always is. A temperature of 0 is not asked here. */
  candidates(logits: Float32Array, settings: SamplerSettings): Candidates {
    const { topK, topP, minP } = settings
    if (logits.length !== this.#vocabulary) {
      throw new Error(`the sampler is for a vocabulary of ${this.#vocabulary}, not ${logits.length}`)
    }
    // An inverse that is finite, so that 0 times it is 0.
    const temperature = Math.max(settings.temperature, 1e-300)
    let all: Candidates
    if (topK > 0 && topK < logits.length) all = this.#weighGathered(this.#gatherTop(logits, topK), temperature)
    else if (minP > 0 && topP === 1) all = this.#weighGathered(this.#gatherNear(logits, temperature, minP), temperature)
    else all = this.#weighEverything(logits, temperature)
    if (topP === 1 && minP === 0) return all
    // min_p is relative to the likeliest token, so what top_k and top_p took away makes no difference to it.
    const likely = topP < 1 ? this.#nucleus(all, topP, minP) : this.#atLeast(all, minP)
    this.#sum(likely.weights)
    return likely
  }

  /** top_k: gathers what is over a floor that rises, every time the room is full, to the k-th largest of it. */
  #gatherTop(logits: Float32Array, k: number): number {
    const ids = this.#ids
    const values = this.#weights
    // As many again as are kept, so that finding the k-th, which is linear, comes to a constant for each token.
    const room = k + Math.max(k, 256)
    let count = 0
    let floor = Number.NEGATIVE_INFINITY
    for (let id = nextOver(logits, 0, floor); id < logits.length; id = nextOver(logits, id + 1, floor)) {
      const logit = logits[id] as number
      if (logit === Number.POSITIVE_INFINITY) throw notFinite()
      ids[count] = id
      values[count++] = logit
      if (count < room) continue
      floor = this.#keepTop(count, k)
      count = k
    }
    if (count > k) this.#keepTop(count, k)
    return Math.min(count, k)
  }

  /** Of what was gathered, the k largest, to the least of them: later ones must be over it, for their ids are higher. */
  #keepTop(count: number, k: number): number {
    const all = { ids: this.#ids.subarray(0, count), weights: this.#weights.subarray(0, count) }
    this.#spare.set(all.weights)
    const edge = edgeOf(this.#spare, count, k, 'count')
    this.#keep(all, this.#every, count, edge)
    return edge.value
  }

  /** min_p alone: what is near enough to the largest, and a trifle more, for the weights decide. */
  #gatherNear(logits: Float32Array, temperature: number, minP: number): number {
    const max = logits[argmax(logits)] as number
    const distance = -Math.log(minP) * temperature
    const floor = max - distance - 1e-9 * (Math.abs(max) + distance + 1e-30)
    const count = gatherOver(logits, floor, this.#ids)
    for (let i = 0; i < count; i++) this.#weights[i] = logits[this.#ids[i] as number] as number
    return count
  }

  /** Makes weights of the first `count` logits that were gathered. */
  #weighGathered(count: number, temperature: number): Candidates {
    if (count === 0) throw notFinite()
    const weights = this.#weights.subarray(0, count)
    const inverse = 1 / temperature
    let max = Number.NEGATIVE_INFINITY
    for (let i = 0; i < count; i++) if ((weights[i] as number) > max) max = weights[i] as number
    for (let block = 0; block * BLOCK < count; block++) {
      this.#sums[block] = weighGatheredBlock(weights, block * BLOCK, max, inverse)
    }
    return { ids: this.#ids.subarray(0, count), weights }
  }

  #weighEverything(logits: Float32Array, temperature: number): Candidates {
    const max = logits[argmax(logits)] as number
    const inverse = 1 / temperature
    for (let block = 0; block < this.#sums.length; block++) {
      this.#sums[block] = weighBlock(logits, this.#weights, block * BLOCK, max, inverse)
    }
    return { ids: this.#every, weights: this.#weights }
  }

  /**
   * top_p, and min_p with it. Tokens lighter than (1 - p) / n of the total weigh less than 1 - p all together, so the
   * set is reached without them, and only the others are looked at.
   */
  #nucleus(all: Candidates, topP: number, minP: number): Candidates {
    const { weights } = all
    const count = weights.length
    const total = this.#total(count)
    const floor = Math.max(((1 - topP) * total) / count, minP)
    const among = gatherFrom(weights, floor, this.#places)
    for (let i = 0; i < among; i++) this.#spare[i] = weights[this.#places[i] as number] as number
    // When what min_p keeps never reaches p, then it is all kept, as it should be.
    return this.#keep(all, this.#places, among, edgeOf(this.#spare, among, topP * total, 'sum'))
  }

  #atLeast(all: Candidates, floor: number): Candidates {
    const count = gatherFrom(all.weights, floor, this.#places)
    return this.#keep(all, this.#places, count, { value: floor, equals: count })
  }

  /** Of the first `count` of `places`, those down to the edge. */
  #keep({ ids, weights }: Candidates, places: Int32Array, count: number, { value, equals }: Edge): Candidates {
    const keptIds = this.#ids
    const keptWeights = this.#weights
    let kept = 0
    let left = equals
    for (let i = 0; i < count; i++) {
      const place = places[i] as number
      const weight = weights[place] as number
      if (weight === value && left-- <= 0) continue
      // Never ahead of what is read, so a list can be kept in its own place; what is too light is written over.
      keptIds[kept] = ids[place] as number
      keptWeights[kept] = weight
      kept += +(weight >= value)
    }
    return { ids: keptIds.subarray(0, kept), weights: keptWeights.subarray(0, kept) }
  }

  #sum(weights: Float64Array): void {
    for (let block = 0; block * BLOCK < weights.length; block++) this.#sums[block] = sumBlock(weights, block * BLOCK)
  }

  /** Of the first `count` weights. */
  #total(count: number): number {
    let total = 0
    for (let block = 0; block * BLOCK < count; block++) total += this.#sums[block] as number
    return total
  }

  /** The index that `u` in [0, 1) falls on when the weights lie end to end. */
  #pick(weights: Float64Array, u: number): number {
    let before = 0
    let rest = u * this.#total(weights.length)
    let last = 0
    for (let block = 0; block * BLOCK < weights.length; block++) {
      const sum = this.#sums[block] as number
      if (sum === 0) continue
      last = block
      before = rest
      if (rest < sum) break
      rest -= sum
    }
    return pickInBlock(weights, last * BLOCK, before)
  }
}

const weighBlock = (
  logits: Float32Array,
  weights: Float64Array,
  from: number,
  max: number,
  inverse: number,
): number => {
  const end = Math.min(from + BLOCK, logits.length)
  let sum = 0
  for (let id = from; id < end; id++) {
    const weight = decay((max - (logits[id] as number)) * inverse)
    weights[id] = weight
    sum += weight
  }
  return sum
}

/** From logits to weights in the same place. */
const weighGatheredBlock = (weights: Float64Array, from: number, max: number, inverse: number): number => {
  const end = Math.min(from + BLOCK, weights.length)
  let sum = 0
  for (let i = from; i < end; i++) {
    const weight = decay((max - (weights[i] as number)) * inverse)
    weights[i] = weight
    sum += weight
  }
  return sum
}

const sumBlock = (weights: Float64Array, from: number): number => {
  const end = Math.min(from + BLOCK, weights.length)
  let sum = 0
  for (let i = from; i < end; i++) sum += weights[i] as number
  return sum
}

/** Rounding can leave a crumb after the last weight; it belongs to the last token that has any. */
const pickInBlock = (weights: Float64Array, from: number, u: number): number => {
  const end = Math.min(from + BLOCK, weights.length)
  let rest = u
  let last = from
  for (let i = from; i < end; i++) {
    const weight = weights[i] as number
    if (weight === 0) continue
    if (rest < weight) return i
    rest -= weight
    last = i
  }
  return last
}
