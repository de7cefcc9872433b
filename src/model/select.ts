/**
 * Finding the few that matter among many numbers without sorting them: skip to the next one over a bound, and find the
 * bound at which the largest have reached a count or a sum.
 *
 * Everything is linear in the worst case too, whatever the order or the repetitions in the input.
 */
import { RejoinError } from '../core/errors.js'

/**
 * A loop over the vocabulary is cut into blocks of so many tokens, each a call of a function: one that is called often
 * is compiled as a whole, while V8 compiles a long loop while it runs, half as fast, and often stays with that.
 */
export const BLOCK = 512

/** The first index from `from` on whose logit is over `floor`, or the length. NaN is over nothing. */
export const nextOver = (logits: Float32Array, from: number, floor: number): number => {
  const end = logits.length
  let i = from
  // Four comparisons a turn: the loop is then no longer what costs, and a pass takes half the time.
  while (i + 3 < end && !anyOver(logits, i, floor)) i += 4
  while (i < end && !((logits[i] as number) > floor)) i++
  return i
}

/** The indices of the logits over `floor`, ascending, into `found`; returns how many. */
export const gatherOver = (logits: Float32Array, floor: number, found: Int32Array): number => {
  let count = 0
  for (let from = 0; from < logits.length; from += BLOCK) count = gatherOverInBlock(logits, from, floor, found, count)
  return count
}

/** The indices of the weights that are `floor` or more, ascending, into `found`; returns how many. */
export const gatherFrom = (weights: Float64Array, floor: number, found: Int32Array): number => {
  let count = 0
  for (let from = 0; from < weights.length; from += BLOCK) count = gatherFromInBlock(weights, from, floor, found, count)
  return count
}

// Two functions that differ in one sign and in the type of the array: V8 compiles one that gets arrays of both types to
// code that asks for the type at every access. When one of four is found then all four are written and the count says
// which of them stay, because a branch that nobody can foresee, in a row of which half is kept, costs five times that.
const gatherOverInBlock = (
  logits: Float32Array,
  from: number,
  floor: number,
  found: Int32Array,
  already: number,
): number => {
  const end = Math.min(from + BLOCK, logits.length)
  let count = already
  let i = from
  for (; i + 3 < end; i += 4) {
    if (!anyOver(logits, i, floor)) continue
    for (let j = i; j < i + 4; j++) {
      found[count] = j
      count += +((logits[j] as number) > floor)
    }
  }
  for (; i < end; i++) {
    found[count] = i
    count += +((logits[i] as number) > floor)
  }
  return count
}

const gatherFromInBlock = (
  weights: Float64Array,
  from: number,
  floor: number,
  found: Int32Array,
  already: number,
): number => {
  const end = Math.min(from + BLOCK, weights.length)
  let count = already
  let i = from
  for (; i + 3 < end; i += 4) {
    if (!anyFrom(weights, i, floor)) continue
    for (let j = i; j < i + 4; j++) {
      found[count] = j
      count += +((weights[j] as number) >= floor)
    }
  }
  for (; i < end; i++) {
    found[count] = i
    count += +((weights[i] as number) >= floor)
  }
  return count
}

/** Whether one of the four from `i` on is over the floor. */
const anyOver = (logits: Float32Array, i: number, floor: number): boolean =>
  (logits[i] as number) > floor ||
  (logits[i + 1] as number) > floor ||
  (logits[i + 2] as number) > floor ||
  (logits[i + 3] as number) > floor

const anyFrom = (weights: Float64Array, i: number, floor: number): boolean =>
  (weights[i] as number) >= floor ||
  (weights[i + 1] as number) >= floor ||
  (weights[i + 2] as number) >= floor ||
  (weights[i + 3] as number) >= floor

/** The first of the largest. NaN never wins. @throws RejoinError `model_failed` when none is finite or one is infinite */
export const argmax = (logits: Float32Array): number => {
  let best = -1
  let max = Number.NEGATIVE_INFINITY
  for (let id = nextOver(logits, 0, max); id < logits.length; id = nextOver(logits, id + 1, max)) {
    best = id
    max = logits[id] as number
  }
  if (best < 0 || max === Number.POSITIVE_INFINITY) throw notFinite()
  return best
}

export const notFinite = (): RejoinError => new RejoinError('model_failed', 'the model gave logits that are not finite')

/** Down to which value the largest go, and how many of just that value are among them. */
export type Edge = { value: number; equals: number }

const BINS = 1024
const bins = new Float64Array(BINS)
// So few are sorted: the native sort of plain numbers takes microseconds for them.
const FEW = 128

/**
 * The largest of the first `count` of `values` that reach `target`: at least one, all of them when they never do.
 *
 * Each turn throws the numbers that are left into bins of equal width, finds the bin in which the target is reached
 * and goes on with what is in it. The least and the largest never share a bin, so every turn leaves fewer.
 * @param values finite; scrambled by this
 * @param by what reaches the target: how many there are, or their sum
 */
export const edgeOf = (values: Float64Array, count: number, target: number, by: 'count' | 'sum'): Edge => {
  // Over 0, so that an empty bin never reaches it.
  let left = Math.max(target, Number.MIN_VALUE)
  let among = count
  let { least, largest } = rangeOf(values, among)
  while (among > FEW && least < largest) {
    const scale = (BINS - 1) / (largest - least)
    if (by === 'count') binCounts(values, among, least, scale)
    else binSums(values, among, least, scale)
    let bin = BINS - 1
    while (bin > 0 && (bins[bin] as number) < left) left -= bins[bin--] as number
    among = keepBin(values, among, least, scale, bin)
    ;({ least, largest } = rangeOf(values, among))
  }
  const rest = values.subarray(0, among)
  if (least < largest) rest.sort()
  let at = among
  let reached = 0
  do {
    at--
    reached += by === 'count' ? 1 : (rest[at] as number)
  } while (at > 0 && reached < left)
  const value = rest[at] as number
  return { value, equals: rest.lastIndexOf(value) - at + 1 }
}

const rangeOf = (values: Float64Array, count: number): { least: number; largest: number } => {
  let least = Number.POSITIVE_INFINITY
  let largest = Number.NEGATIVE_INFINITY
  for (let i = 0; i < count; i++) {
    const value = values[i] as number
    if (value < least) least = value
    if (value > largest) largest = value
  }
  return { least, largest }
}

const binCounts = (values: Float64Array, count: number, least: number, scale: number): void => {
  bins.fill(0)
  for (let i = 0; i < count; i++) {
    const bin = (((values[i] as number) - least) * scale) | 0
    bins[bin] = (bins[bin] as number) + 1
  }
}

const binSums = (values: Float64Array, count: number, least: number, scale: number): void => {
  bins.fill(0)
  for (let i = 0; i < count; i++) {
    const value = values[i] as number
    const bin = ((value - least) * scale) | 0
    bins[bin] = (bins[bin] as number) + value
  }
}

/** Moves what is in the bin to the front. */
const keepBin = (values: Float64Array, count: number, least: number, scale: number, bin: number): number => {
  let kept = 0
  for (let i = 0; i < count; i++) {
    const value = values[i] as number
    if ((((value - least) * scale) | 0) === bin) values[kept++] = value
  }
  return kept
}
