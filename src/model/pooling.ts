/**
 * From the vectors of a text's tokens to one vector of length 1.
 *
 * Sums are in double precision: what a vector was batched with then changes nothing but the model's own rounding.
 */

/** [batch, width, size] of which the first `length` positions of each row count. */
export type Hidden = { data: Float32Array; width: number; size: number }

/** The mean of a row's vectors, padding left out. */
export const meanOf = ({ data, width, size }: Hidden, row: number, length: number): Float64Array => {
  const sum = new Float64Array(size)
  let at = row * width * size
  for (let token = 0; token < length; token++) {
    for (let i = 0; i < size; i++) (sum[i] as number) += data[at++] as number
  }
  return sum.map((value) => value / length)
}

/** The vector of a row's first token. */
export const firstOf = ({ data, width, size }: Hidden, row: number): Float32Array =>
  data.subarray(row * width * size, row * width * size + size)

/**
 * The vector of length 1 that points the same way. A vector of zeros points nowhere and stays as it is.
 * @throws Error when a number is not finite: nothing can be compared with such a vector
 */
export const unit = (vector: Float32Array | Float64Array): Float32Array => {
  let squares = 0
  for (const value of vector) squares += value * value
  const length = Math.sqrt(squares)
  if (!Number.isFinite(length)) throw new Error('the model gave a vector that is not of finite numbers')
  return Float32Array.from(vector, (value) => value / (length || 1))
}
