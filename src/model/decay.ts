/**
 * e^-y for y >= 0, which is what softmax needs once the largest logit is taken off: a look into a table and a cubic,
 * three to four times as fast as `Math.exp`, which V8 does not inline.
 *
 * The relative error is under 1e-12, far below that of the float32 logits it is used on; 0 gives exactly 1. Beyond
 * REACH it is 0: 150,000 tokens out there weigh less than 2^-54 of the likeliest one all together, which a float64 sum
 * cannot see.
 */

/** e^-REACH is the least that is not 0. */
export const REACH = 50

const STEPS = 256
const TABLE = Float64Array.from({ length: REACH * STEPS + 1 }, (_, k) => Math.exp(-k / STEPS))

/** NaN, the difference to a logit that the model should not have given, weighs nothing. */
export const decay = (y: number): number => {
  if (!(y <= REACH)) return 0
  const k = (y * STEPS + 0.5) | 0
  // At most half a step, so the first term left out is (1 / 512)^4 / 24.
  const r = k / STEPS - y
  return (TABLE[k] as number) * (1 + r * (1 + r * (1 / 2 + r * (1 / 6))))
}
