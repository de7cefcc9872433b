/**
 * An encoder of BERT's kind, as optimum writes it: every token sees every other, and there is no cache.
 *
 * With `sentenceEmbedding` it has a second output, as exports of sentence-transformers do: the pooled vector of a row.
 */
import { addBias, attend, geluErf, layerNorm, paddingMask, sizeOf, splitHeads } from './layers.js'
import { linear, lookup, type Precision, type Writing } from './linear.js'
import { Graph } from './onnx-graph.js'
import { type Matrix, Weights } from './weights.js'

export type Pooling = 'mean' | 'cls'

export type Bert = {
  seed: number
  vocab: number
  layers: number
  heads: number
  headSize: number
  intermediate: number
  context: number
  /** Whether the graph has the input `token_type_ids`; without it all tokens are of the first type. */
  tokenTypes: boolean
  /** The output `sentence_embedding`: [batch, hidden]. */
  sentenceEmbedding: { pooling: Pooling; normalize: boolean } | null
}

export const bertGraph = (bert: Bert, precision: Precision): Graph => {
  const { seed, layers, heads, headSize, intermediate, sentenceEmbedding } = bert
  const hidden = heads * headSize
  const graph = new Graph()
  const weights = new Weights(seed)
  const writing: Writing = { graph, weights, precision }
  const affine = (x: string, name: string, rows: number, columns: number, gain: number): string => {
    const product = linear(writing, x, weights.matrix(`${name}.weight`, rows, columns, gain))
    return addBias(writing, product, `${name}.bias`, weights.vector(`${name}.bias`, columns, { deviation: 0.1 }))
  }

  let x = embed(writing, bert)
  const mask = paddingMask(writing)
  for (let layer = 0; layer < layers; layer++) {
    const [node, name] = [`/encoder/layer.${layer}`, `encoder.layer.${layer}`]
    graph.enter(`${node}/attention`)
    const qkv = ['query', 'key', 'value'].map((part) => {
      const projection = affine(x, `${name}.attention.self.${part}`, hidden, hidden, 1.5)
      return splitHeads(writing, projection, heads, headSize)
    })
    const attended = attend(writing, qkv, { mask, headSize, heads, softcap: null })
    const afterAttention = graph.op('Add', [affine(attended, `${name}.attention.output.dense`, hidden, hidden, 1), x])
    x = layerNorm(writing, afterAttention, `${name}.attention.output.LayerNorm`, hidden, false)
    graph.enter(`${node}/intermediate`)
    const active = geluErf(writing, affine(x, `${name}.intermediate.dense`, hidden, intermediate, 1))
    const afterMlp = graph.op('Add', [affine(active, `${name}.output.dense`, intermediate, hidden, 1), x])
    x = layerNorm(writing, afterMlp, `${name}.output.LayerNorm`, hidden, false)
  }
  graph.op('Identity', [x], {}, { outputs: ['last_hidden_state'] })
  graph.output('last_hidden_state', 'float', ['batch_size', 'sequence_length', hidden])
  if (sentenceEmbedding) {
    pool(writing, x, sentenceEmbedding)
    graph.output('sentence_embedding', 'float', ['batch_size', hidden])
  }
  return graph
}

const embed = (writing: Writing, { vocab, heads, headSize, context, tokenTypes }: Bert): string => {
  const { graph, weights } = writing
  const hidden = heads * headSize
  const [batch, sequence] = ['batch_size', 'sequence_length']
  graph.input('input_ids', 'int64', [batch, sequence])
  graph.input('attention_mask', 'int64', [batch, sequence])
  if (tokenTypes) graph.input('token_type_ids', 'int64', [batch, sequence])
  const table = (name: string, rows: number): Matrix =>
    weights.matrix(`embeddings.${name}_embeddings.weight`, rows, hidden, Math.sqrt(rows))

  graph.enter('/embeddings')
  const places = graph.op('Range', [graph.int(0), sizeOf(writing, 'input_ids', 1), graph.int(1)])
  const types = tokenTypes ? 'token_type_ids' : graph.op('Mul', ['input_ids', graph.int(0)])
  const words = lookup(writing, 'input_ids', table('word', vocab))
  const typed = graph.op('Add', [words, lookup(writing, types, table('token_type', 2))])
  const sum = graph.op('Add', [typed, lookup(writing, places, table('position', context))])
  return layerNorm(writing, sum, 'embeddings.LayerNorm', hidden, false)
}

/** x: [batch, sequence, hidden] to [batch, hidden]. */
const pool = (
  { graph }: Writing,
  x: string,
  { pooling, normalize }: { pooling: Pooling; normalize: boolean },
): void => {
  graph.enter('/pooling')
  const outputs = ['sentence_embedding']
  const last = normalize ? {} : { outputs }
  let pooled: string
  if (pooling === 'cls') {
    pooled = graph.op('Gather', [x, graph.int(0)], { axis: 1 }, last)
  } else {
    const mask = graph.op('Unsqueeze', [graph.op('Cast', ['attention_mask'], { to: 1 }), graph.int([2])])
    const sum = graph.op('ReduceSum', [graph.op('Mul', [x, mask]), graph.int([1])], { keepdims: 0 })
    const count = graph.op('ReduceSum', [mask, graph.int([1])], { keepdims: 0 })
    pooled = graph.op('Div', [sum, graph.op('Max', [count, graph.float(1e-9)])], {}, last)
  }
  if (!normalize) return
  const length = graph.op('ReduceL2', [pooled], { axes: [1] })
  graph.op('Div', [pooled, graph.op('Max', [length, graph.float(1e-12)])], {}, { outputs })
}
