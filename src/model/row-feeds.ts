/**
 * How a graph is told what counts of a bucket: the inputs beside ids and past that say how long each row is.
 */
import { Tensor } from 'onnxruntime-node'
import { BIAS_INPUT, POSITIONS_INPUT, SPLIT_INPUT } from './attention.js'
import { AT_INPUT, type PresentLayout } from './graph.js'

/** `apart`: past and newest positions are computed apart, see attention.ts. */
export type Layout = PresentLayout | 'apart'

/** Rows of `lengths` positions in a bucket, and `count` new ids of each. */
export type FedRows = { lengths: Int32Array; bucket: number; count: number }

type Feeds = Record<string, Tensor>

export const rowFeeds = (layout: Layout, rows: FedRows): Feeds => {
  const { lengths, bucket, count } = rows
  switch (layout) {
    case 'position':
      return {
        attention_mask: onesFirst(rows),
        [AT_INPUT]: eachPosition(rows, (length) => length, [lengths.length, 1, count, 1]),
      }
    case 'end':
      return {
        attention_mask: onesAround(rows),
        [AT_INPUT]: eachPosition(rows, () => bucket, [lengths.length, 1, count, 1]),
      }
    case 'apart':
      return {
        attention_mask: onesFirst(rows),
        [POSITIONS_INPUT]: ownPositions(rows),
        [BIAS_INPUT]: bias(rows),
        [SPLIT_INPUT]: int64([bucket, count], [2]),
      }
    default:
      return layout satisfies never
  }
}

/** Which positions the new ids of each row have in it: [rows, count]. */
export const ownPositions = (rows: FedRows): Tensor =>
  eachPosition(rows, (length) => length, [rows.lengths.length, rows.count])

/** int64 through 32-bit halves: a BigInt per id would be an object per id. Ids and positions are below 2^31. */
export const int64 = (values: ArrayLike<number>, dims: number[]): Tensor => {
  const wide = new BigInt64Array(values.length)
  const halves = new Int32Array(wide.buffer)
  for (let i = 0; i < values.length; i++) halves[2 * i] = values[i] as number
  return new Tensor('int64', wide, dims)
}

/** GroupQueryAttention counts the ones of a row; the width must not go beyond its table of positions, as a bucket can. */
const onesFirst = ({ lengths, count }: FedRows): Tensor => {
  const width = Math.max(...lengths) + count
  const mask = new BigInt64Array(lengths.length * width)
  for (const [row, length] of lengths.entries()) mask.fill(1n, row * width, row * width + length + count)
  return new Tensor('int64', mask, [lengths.length, width])
}

/** Plain operators look where they are. */
const onesAround = ({ lengths, bucket, count }: FedRows): Tensor => {
  const width = bucket + count
  const mask = new BigInt64Array(lengths.length * width)
  for (const [row, length] of lengths.entries()) {
    mask.fill(1n, row * width, row * width + length)
    mask.fill(1n, row * width + bucket, (row + 1) * width)
  }
  return new Tensor('int64', mask, [lengths.length, width])
}

/** [rows, 1, 1, count, bucket + count]: a new id sees its row's past, the new ones before it, and itself. */
const bias = ({ lengths, bucket, count }: FedRows): Tensor => {
  const width = bucket + count
  const data = new Float32Array(lengths.length * count * width)
  for (let i = 0, from = 0; from < data.length; i++, from += width) {
    const length = lengths[Math.floor(i / count)] as number
    data.fill(Number.NEGATIVE_INFINITY, from + length, from + bucket)
    data.fill(Number.NEGATIVE_INFINITY, from + bucket + (i % count) + 1, from + width)
  }
  return new Tensor('float32', data, [lengths.length, 1, 1, count, width])
}

/** `first(length)`, and the positions after it, for each row. */
const eachPosition = ({ lengths, count }: FedRows, first: (length: number) => number, dims: number[]): Tensor => {
  const positions = new Int32Array(lengths.length * count)
  for (let row = 0; row < lengths.length; row++) {
    const from = first(lengths[row] as number)
    for (let i = 0; i < count; i++) positions[row * count + i] = from + i
  }
  return int64(positions, dims)
}
