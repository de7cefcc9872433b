/**
 * From a row of logits to a token id: repetition penalty, temperature, top_k, top_p, min_p, in this order and with
 * the meaning that Hugging Face `generate` gives them.
 *
 * Everything is a pure function, the random number too: it depends on the seed and the token's position alone, so an
 * answer that lost its process goes on as it would have gone. The vocabulary is never sorted: top_k keeps a heap of k,
 * top_p sorts only weights that can be in the set; the rest is linear passes over the row.
 */
import { RejoinError } from '../core/errors.js'

/** A `Sampling` with every default filled in. */
export type SamplerSettings = {
  /** 0 takes the likeliest token, the lower id where two are equal. */
  temperature: number
  /** Keep the k likeliest, lower ids first where equal; 0 = all. */
  topK: number
  /** Keep the smallest set of likeliest tokens whose probability reaches this, 0 … 1; 1 = all. */
  topP: number
  /** Drop what is less likely than this share of the likeliest, 0 … 1; 0 = none. */
  minP: number
  /** Divides a positive, multiplies a negative logit of every token seen before; 1 = none. */
  repetitionPenalty: number
  /** Any safe integer. */
  seed: number
}

// The largest float32: a penalty near 0 must not make an infinite logit out of a finite one.
const MAX_LOGIT = 3.4028234e38

/**
 * The id of the next token.
 * @param logits [vocabulary], changed in place by the penalty
 * @param seen the distinct ids of prompt and answer so far
 * @param position the token's number in the answer, from 0
 * @throws RejoinError `model_failed` when the model gave no finite logit
 */
export const sample = (
  logits: Float32Array,
  settings: SamplerSettings,
  seen: Iterable<number>,
  position: number,
): number => {
  if (settings.repetitionPenalty !== 1) penalize(logits, seen, settings.repetitionPenalty)
  const best = argmax(logits)
  if (settings.temperature === 0 || settings.topK === 1) return best
  const { ids, weights } = candidates(logits, best, settings)
  return ids[pick(weights, uniform(settings.seed, position))] as number
}

/** The first of the largest. NaN never wins. */
export const argmax = (logits: Float32Array): number => {
  let best = -1
  let max = Number.NEGATIVE_INFINITY
  for (let id = 0; id < logits.length; id++) {
    const logit = logits[id] as number
    if (logit > max) {
      max = logit
      best = id
    }
  }
  if (best < 0 || max === Number.POSITIVE_INFINITY) {
    throw new RejoinError('model_failed', 'the model gave logits that are not finite')
  }
  return best
}

const penalize = (logits: Float32Array, seen: Iterable<number>, penalty: number): void => {
  for (const id of seen) {
    const logit = logits[id]
    if (logit === undefined) continue
    const penalized = logit < 0 ? logit * penalty : logit / penalty
    logits[id] = Math.min(MAX_LOGIT, Math.max(-MAX_LOGIT, penalized))
  }
}

/** What may be drawn: ids ascending, and their probabilities up to a common factor; that of the likeliest token is 1. */
export type Candidates = { ids: Int32Array; weights: Float64Array }

/** What is left after every filter; `best` always is. */
export const candidates = (logits: Float32Array, best: number, settings: SamplerSettings): Candidates => {
  const { temperature, topK, topP, minP } = settings
  const ids = topK > 0 && topK < logits.length ? largest(logits, topK) : everyId(logits.length)
  const all: Candidates = { ids, weights: weigh(logits, ids, best, temperature) }
  const likely = topP < 1 ? nucleus(all, topP) : all
  // Relative to the likeliest token, so what top_k and top_p took away makes no difference to it.
  return minP > 0 ? atLeast(likely, minP, likely.ids.length) : likely
}

const everyId = (count: number): Int32Array => {
  const ids = new Int32Array(count)
  for (let id = 0; id < count; id++) ids[id] = id
  return ids
}

/** float64, because float32 sums drift. */
const weigh = (logits: Float32Array, ids: Int32Array, best: number, temperature: number): Float64Array => {
  const max = logits[best] as number
  const weights = new Float64Array(ids.length)
  for (let i = 0; i < ids.length; i++) {
    const weight = Math.exp(((logits[ids[i] as number] as number) - max) / temperature)
    // NaN is a logit that the model should not have given; it is never drawn.
    weights[i] = Number.isNaN(weight) ? 0 : weight
  }
  return weights
}

/**
 * top_p. Tokens lighter than (1 - p) / n of the total weigh less than 1 - p all together, so the set is reached
 * without them: only the weights of the others are sorted, as plain numbers.
 */
const nucleus = (all: Candidates, topP: number): Candidates => {
  const total = sum(all.weights)
  const floor = ((1 - topP) * total) / all.ids.length
  const sorted = atLeast(all, floor, all.ids.length).weights.sort()
  let at = sorted.length
  let reached = 0
  do reached += sorted[--at] as number
  while (at > 0 && reached < topP * total)
  const edge = sorted[at] as number
  // Of tokens as likely as the last one kept, only as many as it takes.
  return atLeast(all, edge, sorted.lastIndexOf(edge) - at + 1)
}

/** Those that weigh `floor` or more; of those that weigh just that, the first `equals`. */
const atLeast = ({ ids, weights }: Candidates, floor: number, equals: number): Candidates => {
  const kept: Candidates = { ids: new Int32Array(ids.length), weights: new Float64Array(ids.length) }
  let count = 0
  let left = equals
  for (let i = 0; i < ids.length; i++) {
    const weight = weights[i] as number
    if (weight < floor || (weight === floor && left-- <= 0)) continue
    kept.ids[count] = ids[i] as number
    kept.weights[count++] = weight
  }
  return { ids: kept.ids.subarray(0, count), weights: kept.weights.subarray(0, count) }
}

const sum = (values: Float64Array): number => {
  let total = 0
  for (let i = 0; i < values.length; i++) total += values[i] as number
  return total
}

/** top_k: the k largest, ascending ids, by a heap whose root is the least of those kept; mostly one look per token. */
const largest = (logits: Float32Array, k: number): Int32Array => {
  const heap = new Int32Array(k)
  const less = (a: number, b: number): boolean => {
    const x = logits[a] as number
    const y = logits[b] as number
    return x < y || (x === y && a > b)
  }
  const sink = (from: number): void => {
    const id = heap[from] as number
    let at = from
    for (let child = 2 * at + 1; child < k; child = 2 * at + 1) {
      if (child + 1 < k && less(heap[child + 1] as number, heap[child] as number)) child++
      if (!less(heap[child] as number, id)) break
      heap[at] = heap[child] as number
      at = child
    }
    heap[at] = id
  }
  for (let id = 0; id < k; id++) heap[id] = id
  for (let at = k >> 1; at-- > 0; ) sink(at)
  for (let id = k; id < logits.length; id++) {
    if (!less(heap[0] as number, id)) continue
    heap[0] = id
    sink(0)
  }
  return heap.sort()
}

/** The index that `u` in [0, 1) falls on when the weights lie end to end. */
const pick = (weights: Float64Array, u: number): number => {
  let rest = u * sum(weights)
  let last = 0
  for (let i = 0; i < weights.length; i++) {
    const weight = weights[i] as number
    if (weight === 0) continue
    if (rest < weight) return i
    rest -= weight
    // Rounding can leave a crumb after the last weight; it belongs to the last token that has any.
    last = i
  }
  return last
}

/**
 * A number in [0, 1), 53 bits, that depends on nothing but the seed (both 32-bit halves of it) and the position.
 * Two rounds over the finalizer of MurmurHash3, which moves every bit of the input to every bit of the output.
 */
export const uniform = (seed: number, position: number): number => {
  const a = mix((seed | 0) ^ 0x9e3779b9)
  const b = mix(Math.floor(seed / 2 ** 32) ^ a)
  const c = mix(Math.imul(position, 0x9e3779b1) ^ b)
  const high = mix(c + a)
  const low = mix(high ^ b ^ position)
  return ((high >>> 5) * 2 ** 26 + (low >>> 6)) / 2 ** 53
}

const mix = (value: number): number => {
  let h = value | 0
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return h ^ (h >>> 16)
}
