/**
 * The attention of a Llama: as one GroupQueryAttention node, with rotary positions inside or before it, or in standard
 * operators. All read `past_key_values.N.key|value` and write `present.N.key|value`.
 */
import { appendToCache, attend, causalMask, lengthsOf, sizeOf, splitHeads } from './layers.js'
import type { Writing } from './linear.js'
import type { Llama } from './llama.js'
import { type Graph, MICROSOFT } from './onnx-graph.js'

/** q, k and v as they come out of their products: packed, or each for itself. */
export type Projections = { packed: string } | { separate: [string, string, string] }

type Attention = (projections: Projections, layer: number) => string

/** cos and sin of every position: [context, headSize / 2] each. */
const rotaryTables = (graph: Graph, { context, headSize, ropeTheta }: Llama): [string, string] => {
  const half = headSize / 2
  const table = (of: (angle: number) => number): Float32Array =>
    Float32Array.from({ length: context * half }, (_, i) =>
      of(Math.floor(i / half) * ropeTheta ** (-(i % half) / half)),
    )
  const dims = [context, half]
  return [graph.tensor('cos_cache', dims, table(Math.cos)), graph.tensor('sin_cache', dims, table(Math.sin))]
}

export const groupQueryAttention = ({ graph }: Writing, llama: Llama): Attention => {
  const { layout, heads, kvHeads, headSize, window, softcap } = llama
  const [cos, sin] = rotaryTables(graph, llama)
  graph.enter('/model/attn_mask_reformat')
  const count = graph.op('ReduceSum', ['attention_mask', graph.int([1])], { keepdims: 1 })
  const lastIndex = graph.op('Cast', [graph.op('Sub', [count, graph.int([1])])], { to: 6 })
  const width = graph.op('Gather', [graph.op('Shape', ['attention_mask']), graph.int(1)], { axis: 0 })
  const total = graph.op('Cast', [width], { to: 6 })
  const inside = layout !== 'rotary-nodes'
  return (projections, layer) => {
    let [q, k, v] = 'packed' in projections ? [projections.packed, '', ''] : projections.separate
    if (!inside) {
      const rotate = (x: string, count: number): string => {
        const attributes = { interleaved: 0, num_heads: count, rotary_embedding_dim: 0 }
        return graph.op('RotaryEmbedding', [x, 'position_ids', cos, sin], attributes, { domain: MICROSOFT })
      }
      q = rotate(q, heads)
      k = rotate(k, kvHeads)
    }
    const past = [`past_key_values.${layer}.key`, `past_key_values.${layer}.value`]
    const rotary = inside ? [cos, sin] : []
    const output = `/model/layers.${layer}/attn/GroupQueryAttention/output_0`
    const attributes = {
      num_heads: heads,
      kv_num_heads: kvHeads,
      scale: { float: headSize ** -0.5 },
      do_rotary: inside ? 1 : 0,
      rotary_interleaved: 0,
      local_window_size: window ?? -1,
      softcap: { float: softcap ?? 0 },
    }
    return graph.op('GroupQueryAttention', [q, k, v, ...past, lastIndex, total, ...rotary], attributes, {
      domain: MICROSOFT,
      outputs: [output, `present.${layer}.key`, `present.${layer}.value`],
    })
  }
}

export const plainAttention = (writing: Writing, llama: Llama): Attention => {
  const { graph } = writing
  const { heads, kvHeads, headSize, window, softcap } = llama
  graph.enter('/model')
  const lengths = lengthsOf(writing)
  const batch = sizeOf(writing, 'input_ids', 0)
  const mask = causalMask(writing, lengths, window)
  graph.enter('/model/rotary_emb')
  // [batch, 1, sequence, headSize / 2]
  const [cos, sin] = rotaryTables(graph, llama).map((table) =>
    graph.op('Unsqueeze', [graph.op('Gather', [table, 'position_ids'], { axis: 0 }), graph.int([1])]),
  ) as [string, string]

  const rotate = (x: string): string => {
    const [first, second] = [`${x}/first_half`, `${x}/second_half`]
    graph.op('Split', [x, graph.int([headSize / 2, headSize / 2])], { axis: 3 }, { outputs: [first, second] })
    const mul = (a: string, b: string): string => graph.op('Mul', [a, b])
    const left = graph.op('Sub', [mul(first, cos), mul(second, sin)])
    const right = graph.op('Add', [mul(second, cos), mul(first, sin)])
    return graph.op('Concat', [left, right], { axis: 3 })
  }
  /** [batch, kvHeads, total, headSize] to [batch, heads, total, headSize]: each head serves a group of queries. */
  const repeat = (x: string): string => {
    if (heads === kvHeads) return x
    const sizes = (count: string): string => {
      const vector = (scalar: string): string => graph.op('Unsqueeze', [scalar, graph.int([0])])
      return graph.op('Concat', [vector(batch), count, vector(lengths.total), graph.int([headSize])], { axis: 0 })
    }
    const groups = sizes(graph.int([kvHeads, heads / kvHeads]))
    const wide = graph.op('Expand', [graph.op('Unsqueeze', [x, graph.int([2])]), groups])
    return graph.op('Reshape', [wide, sizes(graph.int([heads]))])
  }
  return (projections, layer) => {
    if ('packed' in projections) throw new Error('plain attention takes q, k and v')
    const [q, k, v] = projections.separate.map((x, i) => splitHeads(writing, x, i === 0 ? heads : kvHeads, headSize))
    const keys = repeat(appendToCache(writing, `${layer}.key`, rotate(k as string)))
    const values = repeat(appendToCache(writing, `${layer}.value`, v as string))
    return attend(writing, [rotate(q as string), keys, values], { mask, headSize, heads, softcap })
  }
}
