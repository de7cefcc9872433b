/**
 * A decoder of GPT-2's kind, as optimum writes it: learned positions, layer norm, biases, fused q, k and v, tied head.
 *
 * Positions come from `position_ids`, or, as in older exports, from the length of the past: there a row that is padded
 * gets wrong positions, so rows of unequal length cannot share a batch.
 */
import {
  addBias,
  appendToCache,
  attend,
  causalMask,
  decoderValues,
  geluTanh,
  layerNorm,
  lengthsOf,
  splitHeads,
} from './layers.js'
import { linear, lookup, type Precision, tiedLinear, type Writing } from './linear.js'
import { Graph } from './onnx-graph.js'
import { silence, Weights } from './weights.js'

export type Gpt2 = {
  seed: number
  positions: 'input' | 'past'
  /** LayerNormalization, or the operators that it is made of. */
  fusedNorm: boolean
  vocab: number
  layers: number
  heads: number
  headSize: number
  intermediate: number
  context: number
  silentIds: readonly number[]
}

export const gpt2Graph = (gpt2: Gpt2, precision: Precision): Graph => {
  const { seed, positions, fusedNorm, vocab, layers, heads, headSize, intermediate, context, silentIds } = gpt2
  const hidden = heads * headSize
  const graph = new Graph()
  const weights = new Weights(seed)
  const writing: Writing = { graph, weights, precision }
  decoderValues(graph, { vocab, layers, kvHeads: heads, headSize, positionIds: positions === 'input' })

  graph.enter('/transformer')
  const lengths = lengthsOf(writing)
  const mask = causalMask(writing, lengths, null)
  const tokens = weights.matrix('transformer.wte.weight', vocab, hidden, 0.2 * Math.sqrt(vocab))
  silence(tokens, silentIds)
  const places = weights.matrix('transformer.wpe.weight', context, hidden, 0.3 * Math.sqrt(context))
  const ids = positions === 'input' ? 'position_ids' : graph.op('Range', [lengths.past, lengths.total, graph.int(1)])
  let sum = graph.op('Add', [lookup(writing, 'input_ids', tokens), lookup(writing, ids, places)])

  const affine = (x: string, name: string, rows: number, columns: number, gain: number): string => {
    const product = linear(writing, x, weights.matrix(`${name}.weight`, rows, columns, gain))
    const bias = weights.vector(`${name}.bias`, columns, { deviation: 0.1 })
    return addBias(writing, product, `${name}.bias`, bias)
  }
  for (let layer = 0; layer < layers; layer++) {
    const [node, name] = [`/transformer/h.${layer}`, `transformer.h.${layer}`]
    graph.enter(`${node}/ln_1`)
    const x = layerNorm(writing, sum, `${name}.ln_1`, hidden, fusedNorm)
    graph.enter(`${node}/attn`)
    const qkv = affine(x, `${name}.attn.c_attn`, hidden, 3 * hidden, 2.5)
    const outputs = ['q', 'k', 'v'].map((part) => `${node}/attn/${part}`)
    graph.op('Split', [qkv, graph.int([hidden, hidden, hidden])], { axis: 2 }, { outputs })
    const [q, k, v] = outputs.map((part) => splitHeads(writing, part, heads, headSize)) as [string, string, string]
    const [keys, values] = [appendToCache(writing, `${layer}.key`, k), appendToCache(writing, `${layer}.value`, v)]
    const attended = attend(writing, [q, keys, values], { mask, headSize, heads, softcap: null })
    sum = graph.op('Add', [sum, affine(attended, `${name}.attn.c_proj`, hidden, hidden, 2)])
    graph.enter(`${node}/ln_2`)
    const y = layerNorm(writing, sum, `${name}.ln_2`, hidden, fusedNorm)
    graph.enter(`${node}/mlp`)
    const active = geluTanh(writing, affine(y, `${name}.mlp.c_fc`, hidden, intermediate, 2))
    sum = graph.op('Add', [sum, affine(active, `${name}.mlp.c_proj`, intermediate, hidden, 2)])
  }
  graph.enter('/transformer/ln_f')
  const last = layerNorm(writing, sum, 'transformer.ln_f', hidden, fusedNorm)
  graph.enter('/lm_head')
  tiedLinear(writing, last, tokens, ['logits'])
  return graph
}
