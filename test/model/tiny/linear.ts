/**
 * Products with weights, in three precisions: floats, blocks of 4 bits (MatMulNBits), and int8 as ONNX Runtime's dynamic
 * quantization writes it (MatMulInteger).
 *
 * The int8 product takes one scale for its whole input, so there, and only there, what one row of a batch says depends
 * on the others.
 */
import { type Graph, MICROSOFT } from './onnx-graph.js'
import { type Matrix, transpose, type Weights } from './weights.js'

export type Precision = 'float' | 'q4' | 'int8'

/** A graph that is being written. */
export type Writing = { graph: Graph; weights: Weights; precision: Precision }

const BLOCK = 32
const HALF = 8

/** x: [..., rows] to [..., columns]. */
export const linear = ({ graph, precision }: Writing, x: string, matrix: Matrix, outputs?: string[]): string => {
  const fields = outputs ? { outputs } : {}
  const { name, rows, columns, data } = matrix
  if (precision === 'q4') {
    const { packed, scales } = quantizeBlocks(matrix)
    const b = graph.tensor(`${name}_Q4`, [columns, rows / BLOCK, BLOCK / 2], packed)
    const s = graph.tensor(`${name}_Q4_scales`, [scales.length], scales)
    const sizes = { K: rows, N: columns, bits: 4, block_size: BLOCK, accuracy_level: 4 }
    return graph.op('MatMulNBits', [x, b, s], sizes, { ...fields, domain: MICROSOFT })
  }
  if (precision === 'float') return graph.op('MatMul', [x, graph.tensor(name, [rows, columns], data)], {}, fields)
  const int8 = quantized(graph, matrix)
  const input = `${name}/input`
  const [quantizedInput, inputScale, inputZero] = [`${input}_quantized`, `${input}_scale`, `${input}_zero_point`]
  graph.op('DynamicQuantizeLinear', [x], {}, { outputs: [quantizedInput, inputScale, inputZero] })
  const product = graph.op('MatMulInteger', [quantizedInput, int8.values, inputZero, int8.zero])
  const scale = graph.op('Mul', [inputScale, int8.scale])
  return graph.op('Mul', [graph.op('Cast', [product], { to: 1 }), scale], {}, fields)
}

/** ids [batch, sequence] to [batch, sequence, columns]. */
export const lookup = ({ graph, precision }: Writing, ids: string, matrix: Matrix): string => {
  const { name, rows, columns, data } = matrix
  if (precision !== 'int8') return graph.op('Gather', [graph.tensor(name, [rows, columns], data), ids])
  const { values, scale, zero } = quantized(graph, matrix)
  return graph.op('DequantizeLinear', [graph.op('Gather', [values, ids]), scale, zero])
}

/** The product with a matrix of which `lookup` has the rows; as floats, the same tensor serves both. */
export const tiedLinear = (writing: Writing, x: string, matrix: Matrix, outputs: string[]): string => {
  const { graph, precision } = writing
  if (precision !== 'float') return linear(writing, x, { ...transpose(matrix), name: `${matrix.name}_T` }, outputs)
  const table = graph.tensor(matrix.name, [matrix.rows, matrix.columns], matrix.data)
  return graph.op('MatMul', [x, graph.op('Transpose', [table], { perm: [1, 0] })], {}, { outputs })
}

/** Symmetric blocks along the rows: [columns, rows / 32, 16] bytes, two numbers in each, and [columns * rows / 32]. */
const quantizeBlocks = (matrix: Matrix): { packed: Uint8Array; scales: Float32Array } => {
  const { name, rows, data } = transpose(matrix)
  if (matrix.rows % BLOCK !== 0) throw new Error(`${name} has ${matrix.rows} rows, not a multiple of ${BLOCK}`)
  const packed = new Uint8Array(data.length / 2)
  const scales = new Float32Array((rows * matrix.rows) / BLOCK)
  for (let block = 0; block < scales.length; block++) {
    const values = data.subarray(block * BLOCK, (block + 1) * BLOCK)
    const peak = values.reduce((peak, value) => (Math.abs(value) > Math.abs(peak) ? value : peak), 0)
    // The largest becomes -8, the far end of the range.
    const scale = peak / -HALF
    scales[block] = scale
    const nibble = (value: number): number => Math.min(HALF - 1, Math.round(value / (scale || 1))) + HALF
    for (let i = 0; i < BLOCK; i += 2) {
      const [low, high] = [nibble(values[i] as number), nibble(values[i + 1] as number)]
      packed[(block * BLOCK + i) / 2] = low | (high << 4)
    }
  }
  return { packed, scales }
}

/** The whole matrix by one scale, to int8. */
const quantized = (graph: Graph, matrix: Matrix): { values: string; scale: string; zero: string } => {
  const { name, rows, columns, data } = matrix
  const scale = data.reduce((peak, value) => Math.max(peak, Math.abs(value)), 0) / 127
  const values = Int8Array.from(data, (value) => Math.round(value / (scale || 1)))
  return {
    values: graph.tensor(`${name}_quantized`, [rows, columns], values),
    scale: graph.tensor(`${name}_scale`, [], Float32Array.of(scale)),
    zero: graph.tensor(`${name}_zero_point`, [], Int8Array.of(0)),
  }
}
