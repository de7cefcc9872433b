/**
 * How likely the model itself held a token to be, and what it held to be likeliest.
 *
 * Of the raw logits: before any bias, penalty or temperature, so the numbers are the model's and can be compared
 * between requests. Sampling changes a row in place; who wants these takes a copy of it first, and only when asked.
 */
import { decay } from './decay.js'
import { BLOCK, nextOver, notFinite } from './select.js'

/** Natural logarithms, 0 or less. */
export type Logprobs = {
  /** Of the token that was asked for; -Infinity where the model rules it out. */
  logprob: number
  /** The likeliest, lower ids first where equal; fewer than asked for when the model rules out the rest. */
  top: { id: number; logprob: number }[]
}

/**
 * Costs one pass of comparisons and one of exponentials over the row (about what temperature costs) and allocates
 * O(n). Stable: the largest logit is taken off first, so nothing overflows and the sum is never under 1.
 * @param raw [vocabulary], not changed
 * @param n how many of the likeliest, 0 … 20
 * @throws RejoinError `model_failed` when the model gave no finite logit
 */
export const logprobs = (raw: Float32Array, id: number, n: number): Logprobs => {
  const logit = raw[id]
  if (logit === undefined) throw new RangeError(`id ${id} is not in a vocabulary of ${raw.length}`)
  const likeliest = largest(raw, Math.max(n, 1))
  const max = raw[likeliest[0] ?? -1]
  if (max === undefined || max === Number.POSITIVE_INFINITY) throw notFinite()
  let total = 0
  for (let from = 0; from < raw.length; from += BLOCK) total += massOf(raw, from, max)
  const logTotal = Math.log(total)
  const logprobOf = (value: number): number => (value > Number.NEGATIVE_INFINITY ? value - max - logTotal : -Infinity)
  return {
    logprob: logprobOf(logit),
    top: likeliest.slice(0, n).map((other) => ({ id: other, logprob: logprobOf(raw[other] as number) })),
  }
}

/** The ids of the n largest, largest first: a short list in order, which mostly costs a look at its last. */
const largest = (raw: Float32Array, n: number): number[] => {
  const ids: number[] = []
  let floor = Number.NEGATIVE_INFINITY
  for (let id = nextOver(raw, 0, floor); id < raw.length; id = nextOver(raw, id + 1, floor)) {
    const logit = raw[id] as number
    let at = ids.length
    // Behind those that are as large, whose ids are lower.
    while (at > 0 && (raw[ids[at - 1] as number] as number) < logit) at--
    ids.splice(at, 0, id)
    if (ids.length > n) ids.pop()
    if (ids.length === n) floor = raw[ids[n - 1] as number] as number
  }
  return ids
}

const massOf = (raw: Float32Array, from: number, max: number): number => {
  const end = Math.min(from + BLOCK, raw.length)
  let mass = 0
  for (let id = from; id < end; id++) mass += decay(max - (raw[id] as number))
  return mass
}
