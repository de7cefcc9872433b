/**
 * Rewrites a decoder's GroupQueryAttention into ordinary operators that read keys and values where they lie.
 *
 * ONNX Runtime's kernel for it on the CPU makes `present.*` anew with each call: it zeroes the whole bucket and copies
 * every row's past into it, which for many rows takes longer than attention itself. Here the scores of the past and
 * those of the newest positions are computed apart and meet in one softmax, so nothing of the past is copied, and the
 * newest keys and values are at hand. `present.*` is gone then, and these inputs are new:
 *   rejoin_positions  int64 [batch, count]: of the newest ids, for rotary
 *   rejoin_bias       float [batch, 1, 1, count, past + count]: 0 where a score counts, else -Infinity
 *   rejoin_split      int64 [2]: past and count
 * All of a graph is rewritten or nothing: whatever is not understood to the last attribute stays as it is, and the
 * decoder compares the logits of both. The file is not touched: what goes is told by offset, what comes is appended.
 * Source: https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md#com.microsoft.GroupQueryAttention
 */
import { newestName, PAST, PRESENT } from './graph.js'
import type { KvShape } from './kv-cache.js'
import {
  ATTRIBUTE,
  constant,
  FLOAT,
  GRAPH,
  INT64,
  MICROSOFT,
  MODEL,
  NODE,
  node,
  number,
  OPSET,
  parts,
  TENSOR,
  text,
  textOf,
  VALUE,
  value,
} from './onnx-proto.js'
import { concat, fields, floats, integers } from './protobuf.js'

export const POSITIONS_INPUT = 'rejoin_positions'
export const BIAS_INPUT = 'rejoin_bias'
export const SPLIT_INPUT = 'rejoin_split'

export type Rewrite = {
  /** Where in the file the tags are of what goes. */
  removed: number[]
  /** Fields of the graph; they end in what `newestName` names. */
  added: Uint8Array
}

/** Since then Split takes its sizes as an input, and Softmax is of one axis. */
const MIN_OPSET = 13

/** GraphProto has this number reserved, so every reader skips it. */
const NO_FIELD = 3
const tagOf = (field: number): number => field * 8 + 2

/** The bytes with what the rewrite removes made a field that nobody reads; `added` is the caller's to append. */
export const remove = (file: Uint8Array, { removed }: Rewrite): void => {
  for (const at of removed) file[at] = tagOf(NO_FIELD)
}

/**
 * @param file not changed yet by `cutLogits`
 * @returns null where there is no GroupQueryAttention, or anything about one that is not understood
 */
export const rewriteAttention = (file: Uint8Array, kvNames: readonly string[], shape: KvShape): Rewrite | null => {
  const graph = readNodes(file)
  if (!graph || graph.opset < MIN_OPSET) return null
  const attentions: Attention[] = []
  for (const node of graph.nodes) {
    if (node.op !== 'GroupQueryAttention') continue
    const attention = understand(node, graph, shape)
    if (!attention) return null
    attentions.push(attention)
  }
  const names = attentions.map(({ name }) => name)
  const given = names.flatMap((name) => [`${name}.key`, `${name}.value`])
  if (given.length !== kvNames.length || !kvNames.every((name) => given.includes(name))) return null
  const present = new Set(kvNames.map((name) => PRESENT + name))
  if (graph.nodes.some(({ inputs }) => inputs.some((input) => present.has(input)))) return null

  const [first] = attentions as [Attention]
  if (attentions.some(({ heads }) => heads !== first.heads)) return null
  const live = withoutDead(graph, present)
  const read = new Set(live.flatMap(({ inputs }) => inputs))
  const removed = [
    ...graph.nodes.filter((node) => !live.includes(node)),
    ...graph.outputs.filter(({ name }) => present.has(name)),
    // It was read only for how long the rows are.
    ...graph.inputs.filter(({ name }) => name === 'attention_mask' && !read.has(name)),
  ].map(({ at }) => at)
  return { removed, added: concat(...shared(first, shape.headSize), ...attentions.map(operators)) }
}

type Part = { at: number; name: string }

type GraphNode = { at: number; op: string; inputs: string[]; outputs: string[]; message: Uint8Array }

type Nodes = {
  opset: number
  nodes: GraphNode[]
  inputs: Part[]
  outputs: Part[]
  /** Of each initializer, its dims. */
  initializers: Map<string, number[]>
}

/** Null where a node has a graph of its own, which may read anything, or a tag is written in an unusual way. */
const readNodes = (file: Uint8Array): Nodes | null => {
  const graph: Nodes = { opset: 0, nodes: [], inputs: [], outputs: [], initializers: new Map() }
  for (const opset of parts(file, MODEL.opset)) {
    if (textOf(opset, OPSET.domain) === '') graph.opset = numberOf(opset, OPSET.version) ?? 0
  }
  for (const message of parts(file, MODEL.graph)) {
    let at = message.byteOffset - file.byteOffset
    for (const part of fields(message)) {
      // All fields of a graph are messages or strings, so that the next tag is behind this payload.
      if (part.type !== 'bytes') return null
      if (part.field <= GRAPH.output && file[at] !== tagOf(part.field)) return null
      if (part.field === GRAPH.node) {
        const node = readNode(part.value, at)
        if (!node) return null
        graph.nodes.push(node)
      }
      if (part.field === GRAPH.input) graph.inputs.push({ at, name: textOf(part.value, VALUE.name) })
      if (part.field === GRAPH.output) graph.outputs.push({ at, name: textOf(part.value, VALUE.name) })
      if (part.field === GRAPH.initializer) graph.initializers.set(textOf(part.value, TENSOR.name), dimsOf(part.value))
      at = part.value.byteOffset + part.value.length - file.byteOffset
    }
  }
  return graph
}

const readNode = (message: Uint8Array, at: number): GraphNode | null => {
  for (const attribute of parts(message, NODE.attribute)) {
    for (const { field } of fields(attribute)) if (field === ATTRIBUTE.graph || field === ATTRIBUTE.graphs) return null
  }
  return {
    at,
    op: textOf(message, NODE.opType),
    inputs: [...parts(message, NODE.input)].map(text),
    outputs: [...parts(message, NODE.output)].map(text),
    message,
  }
}

const numberOf = (message: Uint8Array, wanted: number): number | undefined => {
  for (const part of fields(message)) if (part.field === wanted) return Number(integers(part)[0])
  return undefined
}

const dimsOf = (tensor: Uint8Array): number[] =>
  [...fields(tensor)].flatMap((part) => (part.field === TENSOR.dims ? integers(part).map(Number) : []))

/** One GroupQueryAttention. */
type Attention = {
  /** Of its keys and values: `0`. */
  name: string
  /** One input, packed, or three. */
  projections: string[]
  output: string
  heads: number
  kvHeads: number
  headSize: number
  scale: number
  rotary: { cos: string; sin: string; interleaved: number } | null
}

const understand = (
  node: GraphNode,
  { initializers }: Nodes,
  { heads: kvHeads, headSize }: KvShape,
): Attention | null => {
  const [q = '', k = '', v = '', pastKey = '', pastValue = '', , , cos = '', sin = '', positions = '', ...more] =
    node.inputs
  const attributes = attributesOf(node.message)
  if (!attributes || textOf(node.message, NODE.domain) !== MICROSOFT) return null
  const {
    num_heads: heads = 0,
    kv_num_heads,
    scale = 0,
    do_rotary = 0,
    rotary_interleaved: interleaved = 0,
  } = attributes
  const { local_window_size: window = -1, softcap = 0, smooth_softmax: smooth = 0 } = attributes
  if (window > 0 || softcap !== 0 || smooth > 0 || kv_num_heads !== kvHeads || heads % kvHeads !== 0) return null
  if (heads === 0 || scale < 0 || q === '' || (k === '') !== (v === '')) return null
  // Those that are fed are the same that we feed.
  if ((positions !== '' && positions !== 'position_ids') || more.some((input) => input !== '')) return null
  const name = pastKey.slice(PAST.length, -'.key'.length)
  if (pastKey !== `${PAST}${name}.key` || pastValue !== `${PAST}${name}.value`) return null
  const [output = '', ...present] = node.outputs
  if (present.length !== 2 || present[0] !== `${PRESENT}${name}.key` || present[1] !== `${PRESENT}${name}.value`)
    return null
  // Part of a head may be left as it is, which those of half the width would mean.
  const whole = [cos, sin].every((table) => initializers.get(table)?.at(-1) === headSize / 2)
  if (do_rotary && !whole) return null
  return {
    name,
    projections: k === '' ? [q] : [q, k, v],
    output,
    heads,
    kvHeads,
    headSize,
    scale: scale === 0 ? 1 / Math.sqrt(headSize) : scale,
    rotary: do_rotary ? { cos, sin, interleaved } : null,
  }
}

const ATTRIBUTES = [
  'num_heads',
  'kv_num_heads',
  'scale',
  'do_rotary',
  'rotary_interleaved',
  'local_window_size',
  'softcap',
  'smooth_softmax',
] as const

/** Null where there is one that is not known. */
const attributesOf = (message: Uint8Array): Partial<Record<(typeof ATTRIBUTES)[number], number>> | null => {
  const attributes: Partial<Record<(typeof ATTRIBUTES)[number], number>> = {}
  for (const attribute of parts(message, NODE.attribute)) {
    const name = ATTRIBUTES.find((known) => known === textOf(attribute, ATTRIBUTE.name))
    if (!name) return null
    for (const part of fields(attribute)) {
      if (part.field === ATTRIBUTE.int) attributes[name] = Number(integers(part)[0])
      if (part.field === ATTRIBUTE.float) attributes[name] = floats(part)[0] as number
    }
  }
  return attributes
}

/** Without attention, and without what only attention read, such as the lengths of the rows. */
const withoutDead = ({ nodes, outputs }: Nodes, present: ReadonlySet<string>): GraphNode[] => {
  const kept = outputs.map(({ name }) => name).filter((name) => !present.has(name))
  const projections = nodes.filter(({ op }) => op === 'GroupQueryAttention').flatMap(({ inputs }) => inputs.slice(0, 3))
  let live = nodes.filter(({ op }) => op !== 'GroupQueryAttention')
  for (let before = -1; before !== live.length; ) {
    before = live.length
    const read = new Set([...kept, ...projections, ...live.flatMap(({ inputs }) => inputs)])
    live = live.filter(({ outputs }) => outputs.some((output) => output !== '' && read.has(output)))
  }
  return live
}

// A reshape: 0 is the size that was there, -1 what is left.
const SHAPES = {
  packed: 'rejoin/packed',
  q: 'rejoin/q',
  kv: 'rejoin/kv',
  groups: 'rejoin/groups',
  heads: 'rejoin/heads',
  flat: 'rejoin/flat',
}

/** What all layers read. */
const shared = ({ heads, kvHeads }: Attention, headSize: number): Uint8Array[] => [
  value(GRAPH.input, POSITIONS_INPUT, INT64, ['rejoin_batch', 'rejoin_count']),
  value(GRAPH.input, BIAS_INPUT, FLOAT, ['rejoin_batch', 1, 1, 'rejoin_count', 'rejoin_total']),
  value(GRAPH.input, SPLIT_INPUT, INT64, [2]),
  constant(SHAPES.packed, [0, 0, heads + 2 * kvHeads, headSize]),
  constant(SHAPES.q, [0, 0, heads, headSize]),
  constant(SHAPES.kv, [0, 0, kvHeads, headSize]),
  constant(SHAPES.groups, [0, kvHeads, heads / kvHeads, -1, headSize]),
  constant(SHAPES.heads, [0, heads, -1, headSize]),
  constant(SHAPES.flat, [0, 0, heads * headSize]),
  constant('rejoin/one', [2]),
  constant('rejoin/rotated', [heads + kvHeads, kvHeads]),
  constant('rejoin/turned', [heads, kvHeads]),
  constant('rejoin/parts', [heads, kvHeads, kvHeads]),
]

/**
 * [batch, kvHeads, group, count, headSize], with keys and values the same for a group. So a product is one row by a
 * matrix when one id is new, and its factor is 1: for that MLAS has a kernel that reads the matrix where it lies, and
 * for two rows, or another factor, it copies it first.
 */
const operators = (attention: Attention): Uint8Array => {
  const { name, output } = attention
  const at = (what: string): string => `rejoin/${name}/${what}`
  const [k, v] = [newestName(`${name}.key`), newestName(`${name}.value`)]
  const forGroup = (input: string, what: string): Uint8Array => node('Unsqueeze', [input, 'rejoin/one'], [at(what)])
  const product = (keys: string, scores: string): Uint8Array =>
    node('FusedMatMul', [at('q'), at(keys)], [at(scores)], { transB: 1 }, MICROSOFT)
  return concat(
    ...(attention.projections.length === 1 ? unpacked(attention, at, k, v) : separate(attention, at, k, v)),
    number(at('scale'), attention.scale),
    node('Mul', [at('heads'), at('scale')], [at('scaled')]),
    node('Reshape', [at('scaled'), SHAPES.groups], [at('q')]),
    forGroup(`${PAST}${name}.key`, 'keys/past'),
    forGroup(k, 'keys/new'),
    forGroup(`${PAST}${name}.value`, 'values/past'),
    forGroup(v, 'values/new'),
    product('keys/past', 'scores/past'),
    product('keys/new', 'scores/new'),
    node('Concat', [at('scores/past'), at('scores/new')], [at('scores')], { axis: 4 }),
    node('Add', [at('scores'), BIAS_INPUT], [at('biased')]),
    node('Softmax', [at('biased')], [at('weights')], { axis: -1 }),
    node('Split', [at('weights'), SPLIT_INPUT], [at('weights/past'), at('weights/new')], { axis: 4 }),
    node('MatMul', [at('weights/past'), at('values/past')], [at('sum/past')]),
    node('MatMul', [at('weights/new'), at('values/new')], [at('sum/new')]),
    node('Add', [at('sum/past'), at('sum/new')], [at('sum')]),
    node('Reshape', [at('sum'), SHAPES.heads], [at('sum/heads')]),
    node('Transpose', [at('sum/heads')], [at('sum/positions')], { perm: [0, 2, 1, 3] }),
    node('Reshape', [at('sum/positions'), SHAPES.flat], [output]),
  )
}

type Names = (what: string) => string

/** Queries and keys are turned together, as so many heads. */
const unpacked = ({ projections, rotary }: Attention, at: Names, k: string, v: string): Uint8Array[] => {
  const whole = byHead(projections[0] as string, SHAPES.packed, at('packed'), at)
  if (!rotary) return [...whole, node('Split', [at('packed'), 'rejoin/parts'], [at('heads'), k, v], { axis: 1 })]
  return [
    ...whole,
    node('Split', [at('packed'), 'rejoin/rotated'], [at('unturned'), v], { axis: 1 }),
    turned(at('unturned'), rotary, at('turned')),
    node('Split', [at('turned'), 'rejoin/turned'], [at('heads'), k], { axis: 1 }),
  ]
}

const separate = ({ projections, rotary }: Attention, at: Names, k: string, v: string): Uint8Array[] => {
  const [q, key, val] = projections as [string, string, string]
  const values = byHead(val, SHAPES.kv, v, at)
  if (!rotary) return [...byHead(q, SHAPES.q, at('heads'), at), ...byHead(key, SHAPES.kv, k, at), ...values]
  return [
    ...byHead(q, SHAPES.q, at('unturned/q'), at),
    turned(at('unturned/q'), rotary, at('heads')),
    ...byHead(key, SHAPES.kv, at('unturned/k'), at),
    turned(at('unturned/k'), rotary, k),
    ...values,
  ]
}

/** [batch, count, heads x headSize] to [batch, heads, count, headSize]. */
const byHead = (input: string, shape: string, output: string, at: Names): Uint8Array[] => [
  node('Reshape', [input, shape], [at(`${output}/split`)]),
  node('Transpose', [at(`${output}/split`)], [output], { perm: [0, 2, 1, 3] }),
]

const turned = (
  input: string,
  { cos, sin, interleaved }: NonNullable<Attention['rotary']>,
  output: string,
): Uint8Array => node('RotaryEmbedding', [input, POSITIONS_INPUT, cos, sin], [output], { interleaved }, MICROSOFT)
