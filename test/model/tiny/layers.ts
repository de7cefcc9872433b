/**
 * What the networks are put together from, beside products with weights, in the operators that exporters write for it.
 */
import type { Writing } from './linear.js'
import type { Graph } from './onnx-graph.js'

export const addBias = ({ graph }: Writing, x: string, name: string, bias: Float32Array): string =>
  graph.op('Add', [graph.tensor(name, [bias.length], bias), x])

/** Layer normalization with scale and bias, as one operator or as exports before opset 17 have it. */
export const layerNorm = (writing: Writing, x: string, name: string, size: number, fused: boolean): string => {
  const { graph, weights } = writing
  const [scaleName, biasName] = [`${name}.weight`, `${name}.bias`]
  const scale = graph.tensor(scaleName, [size], weights.vector(scaleName, size, { mean: 1, deviation: 0.1 }))
  const bias = graph.tensor(biasName, [size], weights.vector(biasName, size, { deviation: 0.1 }))
  if (fused) return graph.op('LayerNormalization', [x, scale, bias], { axis: -1, epsilon: { float: 1e-5 } })
  const centred = graph.op('Sub', [x, graph.op('ReduceMean', [x], { axes: [-1] })])
  const variance = graph.op('ReduceMean', [graph.op('Pow', [centred, graph.float(2)])], { axes: [-1] })
  const deviation = graph.op('Sqrt', [graph.op('Add', [variance, graph.float(1e-5)])])
  return graph.op('Add', [graph.op('Mul', [graph.op('Div', [centred, deviation]), scale]), bias])
}

/** GELU by the tangent, as GPT-2 has it. */
export const geluTanh = ({ graph }: Writing, x: string): string => {
  const cubed = graph.op('Mul', [graph.op('Pow', [x, graph.float(3)]), graph.float(0.044715)])
  const inner = graph.op('Mul', [graph.op('Add', [x, cubed]), graph.float(Math.sqrt(2 / Math.PI))])
  const outer = graph.op('Add', [graph.op('Tanh', [inner]), graph.float(1)])
  return graph.op('Mul', [graph.op('Mul', [x, graph.float(0.5)]), outer])
}

/** GELU by the error function, as BERT has it. */
export const geluErf = ({ graph }: Writing, x: string): string => {
  const erf = graph.op('Erf', [graph.op('Div', [x, graph.float(Math.SQRT2)])])
  return graph.op('Mul', [graph.op('Mul', [x, graph.op('Add', [erf, graph.float(1)])]), graph.float(0.5)])
}

/** The size of one dimension, as a scalar. */
export const sizeOf = ({ graph }: Writing, x: string, dimension: number): string =>
  graph.op('Gather', [graph.op('Shape', [x]), graph.int(dimension)], { axis: 0 })

/** The positions of past and of new tokens, and the number of both, in a graph that concatenates its cache. */
export type Lengths = { past: string; total: string }

export const lengthsOf = (writing: Writing): Lengths => {
  const past = sizeOf(writing, 'past_key_values.0.key', 2)
  return { past, total: writing.graph.op('Add', [past, sizeOf(writing, 'input_ids', 1)]) }
}

/**
 * Who may look at whom: what came before, no padding, and with a window only its newest positions. As in Transformers
 * the window counts padding too, so a windowed row with padding between its tokens sees fewer of them than it should.
 * @returns 0 or the smallest float, [batch, 1, sequence, total], to be added to the scores
 */
export const causalMask = (writing: Writing, { past, total }: Lengths, window: number | null): string => {
  const { graph } = writing
  const queries = graph.op('Unsqueeze', [graph.op('Range', [past, total, graph.int(1)]), graph.int([1])])
  const keys = graph.op('Range', [graph.int(0), total, graph.int(1)])
  let seen = graph.op('LessOrEqual', [keys, queries])
  if (window !== null) {
    const oldest = graph.op('Sub', [queries, graph.int(window)])
    seen = graph.op('And', [seen, graph.op('Greater', [keys, oldest])])
  }
  return maskOf(writing, graph.op('And', [seen, unpadded(writing)]))
}

/** The same for a graph in which everybody sees everybody: [batch, 1, 1, sequence]. */
export const paddingMask = (writing: Writing): string => maskOf(writing, unpadded(writing))

const unpadded = ({ graph }: Writing): string =>
  graph.op('Unsqueeze', [graph.op('Cast', ['attention_mask'], { to: 9 }), graph.int([1, 2])])

const maskOf = ({ graph }: Writing, seen: string): string =>
  graph.op('Where', [seen, graph.float(0), graph.float(-3.4028234663852886e38)])

/** [batch, sequence, heads * headSize] to [batch, heads, sequence, headSize]. */
export const splitHeads = ({ graph }: Writing, x: string, heads: number, headSize: number): string =>
  graph.op('Transpose', [graph.op('Reshape', [x, graph.int([0, 0, heads, headSize])])], { perm: [0, 2, 1, 3] })

/**
 * Puts new keys or values after those of the past, and gives both out.
 * @param name such as `0.key`
 * @param x [batch, kvHeads, sequence, headSize]
 */
export const appendToCache = ({ graph }: Writing, name: string, x: string): string =>
  graph.op('Concat', [`past_key_values.${name}`, x], { axis: 2 }, { outputs: [`present.${name}`] })

export type AttentionFields = { mask: string; headSize: number; heads: number; softcap: number | null }

/** q, k and v are [batch, heads, length, headSize] each; gives [batch, sequence, heads * headSize]. */
export const attend = ({ graph }: Writing, [q, k, v]: readonly string[], fields: AttentionFields): string => {
  const { mask, headSize, heads, softcap } = fields
  const product = graph.op('MatMul', [q as string, graph.op('Transpose', [k as string], { perm: [0, 1, 3, 2] })])
  let scores = graph.op('Mul', [product, graph.float(headSize ** -0.5)])
  if (softcap !== null) {
    const flat = graph.op('Tanh', [graph.op('Div', [scores, graph.float(softcap)])])
    scores = graph.op('Mul', [flat, graph.float(softcap)])
  }
  const shares = graph.op('Softmax', [graph.op('Add', [scores, mask])], { axis: -1 })
  const mixed = graph.op('Transpose', [graph.op('MatMul', [shares, v as string])], { perm: [0, 2, 1, 3] })
  return graph.op('Reshape', [mixed, graph.int([0, 0, heads * headSize])])
}

/** What every decoder graph is fed and gives beside `position_ids`. */
export const decoderValues = (
  graph: Graph,
  shape: { vocab: number; layers: number; kvHeads: number; headSize: number; positionIds: boolean },
): void => {
  const { vocab, layers, kvHeads, headSize, positionIds } = shape
  const [batch, sequence, total] = ['batch_size', 'sequence_length', 'total_sequence_length']
  graph.input('input_ids', 'int64', [batch, sequence])
  graph.input('attention_mask', 'int64', [batch, total])
  if (positionIds) graph.input('position_ids', 'int64', [batch, sequence])
  graph.output('logits', 'float', [batch, sequence, vocab])
  for (let layer = 0; layer < layers; layer++) {
    for (const name of [`${layer}.key`, `${layer}.value`]) {
      graph.input(`past_key_values.${name}`, 'float', [batch, kvHeads, 'past_sequence_length', headSize])
      graph.output(`present.${name}`, 'float', [batch, kvHeads, total, headSize])
    }
  }
}
