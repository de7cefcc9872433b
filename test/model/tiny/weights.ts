/**
 * Random weights that are a function of seed and name, so that two layouts of one network get the same numbers.
 *
 * Only additions and multiplications make them, which every machine rounds alike; a logarithm or a cosine is not so.
 */

/** As ONNX multiplies it from the left: [rows, columns] is [in, out]. */
export type Matrix = { name: string; rows: number; columns: number; data: Float32Array }

export class Weights {
  readonly #seed: number

  constructor(seed: number) {
    this.#seed = seed
  }

  /** @returns `count` numbers, near enough normally distributed */
  vector(name: string, count: number, { mean = 0, deviation = 1 } = {}): Float32Array {
    const random = uniform(hash(`${this.#seed}/${name}`))
    // Twelve uniform numbers have the variance 1, and three have a quarter of that.
    return Float32Array.from({ length: count }, () => mean + deviation * 2 * (random() + random() + random() - 1.5))
  }

  /** @param gain how much larger than its input the product is */
  matrix(name: string, rows: number, columns: number, gain: number): Matrix {
    return { name, rows, columns, data: this.vector(name, rows * columns, { deviation: gain / Math.sqrt(rows) }) }
  }
}

export const transpose = ({ name, rows, columns, data }: Matrix): Matrix => {
  const turned = new Float32Array(data.length)
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < columns; c++) turned[c * rows + r] = data[r * columns + c] as number
  }
  return { name, rows: columns, columns: rows, data: turned }
}

/** Matrices of the same rows, beside each other. */
export const beside = (name: string, parts: readonly Matrix[]): Matrix => {
  const whole = parts.map(transpose)
  const data = new Float32Array(whole.reduce((length, part) => length + part.data.length, 0))
  let at = 0
  for (const part of whole) {
    data.set(part.data, at)
    at += part.data.length
  }
  const columns = (whole[0] as Matrix).columns
  return transpose({ name, rows: data.length / columns, columns, data })
}

/** Makes the rows of a tied embedding small, so that their logits are. */
export const silence = ({ columns, data }: Matrix, ids: readonly number[]): void => {
  for (const id of ids) {
    for (let column = 0; column < columns; column++) (data[id * columns + column] as number) *= 0.1
  }
}

/** FNV-1a, 32 bits. */
const hash = (text: string): number => {
  let value = 0x811c9dc5
  for (const byte of Buffer.from(text)) value = Math.imul(value ^ byte, 0x01000193)
  return value >>> 0
}

/** mulberry32: numbers from 0 to 1. */
const uniform = (seed: number): (() => number) => {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
