/**
 * Decoders of the Llama family: RMS norm, rotary positions, gated MLP; Qwen2 has biases at q, k and v.
 *
 * One network in four layouts, with the same weights for the same seed, so that all say the same. Three are what
 * onnxruntime-genai writes, with GroupQueryAttention; `plain` is what optimum writes, in standard operators.
 */
import { addBias, decoderValues } from './layers.js'
import { linear, lookup, type Precision, tiedLinear, type Writing } from './linear.js'
import { groupQueryAttention, type Projections, plainAttention } from './llama-attention.js'
import { Graph, MICROSOFT } from './onnx-graph.js'
import { beside, type Matrix, silence, Weights } from './weights.js'

/**
 * `packed`: q, k and v in one tensor, rotary inside GroupQueryAttention. `separate`: three tensors.
 * `rotary-nodes`: RotaryEmbedding nodes before it, which have the positions from `position_ids`.
 */
export type LlamaLayout = 'packed' | 'separate' | 'rotary-nodes' | 'plain'

export type Llama = {
  seed: number
  layout: LlamaLayout
  vocab: number
  layers: number
  heads: number
  kvHeads: number
  headSize: number
  intermediate: number
  context: number
  qkvBias: boolean
  /** The lm head is the embedding. */
  tied: boolean
  /** How many positions a token sees, itself included; null for all. */
  window: number | null
  softcap: number | null
  ropeTheta: number
  /** Ids that the model hardly ever says. */
  silentIds: readonly number[]
}

export const EPSILON = 1e-5

export const llamaGraph = (llama: Llama, precision: Precision): Graph => {
  const { seed, layout, vocab, layers, heads, kvHeads, headSize } = llama
  const hidden = heads * headSize
  const graph = new Graph()
  const weights = new Weights(seed)
  const writing: Writing = { graph, weights, precision }
  decoderValues(graph, {
    vocab,
    layers,
    kvHeads,
    headSize,
    positionIds: layout === 'rotary-nodes' || layout === 'plain',
  })
  const attention = layout === 'plain' ? plainAttention(writing, llama) : groupQueryAttention(writing, llama)
  const embedding = weights.matrix('model.embed_tokens.weight', vocab, hidden, 0.2 * Math.sqrt(vocab))
  if (llama.tied) silence(embedding, llama.silentIds)
  graph.enter('/model/embed_tokens')
  const stream = new Stream(writing, lookup(writing, 'input_ids', embedding), hidden, layout !== 'plain')
  for (let layer = 0; layer < layers; layer++) {
    const [node, name] = [`/model/layers.${layer}`, `model.layers.${layer}`]
    graph.enter(`${node}/input_layernorm`)
    const x = stream.norm(`${name}.input_layernorm.weight`)
    graph.enter(`${node}/self_attn`)
    const attended = attention(project(writing, x, layer, llama), layer)
    stream.add(linear(writing, attended, weights.matrix(`${name}.self_attn.o_proj.weight`, hidden, hidden, 2)))
    graph.enter(`${node}/post_attention_layernorm`)
    const y = stream.norm(`${name}.post_attention_layernorm.weight`)
    graph.enter(`${node}/mlp`)
    stream.add(gatedMlp(writing, y, `${name}.mlp`, llama))
  }
  graph.enter('/model/norm')
  const last = stream.norm('model.norm.weight')
  graph.enter('/lm_head')
  if (llama.tied) tiedLinear(writing, last, embedding, ['logits'])
  else linear(writing, last, lmHead(weights, llama), ['logits'])
  return graph
}

const lmHead = (weights: Weights, { heads, headSize, vocab, silentIds }: Llama): Matrix => {
  const head = weights.matrix('lm_head.weight', heads * headSize, vocab, 3)
  for (const id of silentIds) {
    for (let row = 0; row < head.rows; row++) (head.data[row * vocab + id] as number) *= 0.1
  }
  return head
}

/** The residual stream, normed with the operators of the layout. */
class Stream {
  readonly #writing: Writing
  readonly #hidden: number
  readonly #fused: boolean
  #sum: string
  /** What SkipSimplifiedLayerNormalization will add. */
  #pending: string | null = null

  constructor(writing: Writing, sum: string, hidden: number, fused: boolean) {
    this.#writing = writing
    this.#sum = sum
    this.#hidden = hidden
    this.#fused = fused
  }

  add(x: string): void {
    if (this.#fused) this.#pending = x
    else this.#sum = this.#writing.graph.op('Add', [this.#sum, x])
  }

  norm(name: string): string {
    const { graph, weights } = this.#writing
    const scale = weights.vector(name, this.#hidden, { mean: 1, deviation: 0.1 })
    const weight = graph.tensor(name, [this.#hidden], scale)
    if (!this.#fused) return plainNorm(graph, this.#sum, weight)
    const epsilon = { float: EPSILON }
    if (this.#pending === null) {
      return graph.op('SimplifiedLayerNormalization', [this.#sum, weight], { axis: -1, epsilon, stash_type: 1 })
    }
    const [y, sum] = [`${name}/normed`, `${name}/sum`]
    const inputs = [this.#sum, this.#pending, weight]
    graph.op('SkipSimplifiedLayerNormalization', inputs, { epsilon }, { domain: MICROSOFT, outputs: [y, '', '', sum] })
    this.#sum = sum
    this.#pending = null
    return y
  }
}

const plainNorm = (graph: Graph, x: string, weight: string): string => {
  const square = graph.op('ReduceMean', [graph.op('Pow', [x, graph.float(2)])], { axes: [-1] })
  const size = graph.op('Sqrt', [graph.op('Add', [square, graph.float(EPSILON)])])
  return graph.op('Mul', [graph.op('Div', [x, size]), weight])
}

const gatedMlp = (writing: Writing, x: string, name: string, llama: Llama): string => {
  const { graph, weights } = writing
  const { heads, headSize, intermediate } = llama
  const hidden = heads * headSize
  const gate = linear(writing, x, weights.matrix(`${name}.gate_proj.weight`, hidden, intermediate, 2))
  const up = linear(writing, x, weights.matrix(`${name}.up_proj.weight`, hidden, intermediate, 1))
  const active = graph.op('Mul', [graph.op('Mul', [gate, graph.op('Sigmoid', [gate])]), up])
  return linear(writing, active, weights.matrix(`${name}.down_proj.weight`, intermediate, hidden, 1))
}

const project = (writing: Writing, x: string, layer: number, llama: Llama): Projections => {
  const { weights } = writing
  const { layout, heads, kvHeads, headSize, qkvBias } = llama
  const name = `model.layers.${layer}.self_attn`
  const parts = (['q', 'k', 'v'] as const).map((part) => {
    const size = (part === 'q' ? heads : kvHeads) * headSize
    const matrix = weights.matrix(`${name}.${part}_proj.weight`, heads * headSize, size, part === 'v' ? 1 : 2)
    return { matrix, biasName: `${name}.${part}_proj.bias`, size }
  })
  const biasOf = ({ biasName, size }: (typeof parts)[number]) => weights.vector(biasName, size, { deviation: 0.3 })
  if (layout === 'packed') {
    const matrices = parts.map(({ matrix }) => matrix)
    const packed = linear(writing, x, beside(`${name}.qkv_proj.weight`, matrices))
    if (!qkvBias) return { packed }
    const bias = Float32Array.from(parts.flatMap((part) => [...biasOf(part)]))
    return { packed: addBias(writing, packed, `${name}.qkv_proj.bias`, bias) }
  }
  const separate = parts.map((part) => {
    const product = linear(writing, x, part.matrix)
    return qkvBias ? addBias(writing, product, part.biasName, biasOf(part)) : product
  })
  return { separate: separate as [string, string, string] }
}
