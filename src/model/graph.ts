/**
 * What a decoder's .onnx file is, read from the file itself, and the small outputs that the batch needs added to it.
 *
 * A graph gives back `present.*`, all keys and values of all positions, and `logits` for every position that it was
 * fed. To take those out of ONNX Runtime costs a copy that grows with the context, so two outputs are added:
 *   rejoin_step    [batch, tensors x heads, count, head size]: keys and values of the newest positions only
 *   rejoin_logits  [batch, vocabulary]: the logits after the last position only
 * with an input `rejoin_at` [batch, 1, count, 1]: where in `present.*` the newest positions are. The addition is
 * appended to the file's bytes, since Protocol Buffers merge a message that occurs twice (see protobuf.ts). Where
 * attention.ts has rewritten the graph, the newest positions are at hand, and there is no `rejoin_at`. And where logits are a product of the hidden state, they are computed for the last position only: of a prompt nobody wants the
 * others, and with a large vocabulary they are a quarter of its work.
 */
import type { KvShape } from './kv-cache.js'
import {
  constant,
  DIM,
  FLOAT,
  GRAPH,
  INT64,
  MODEL,
  NODE,
  node,
  parts,
  SHAPE,
  TENSOR,
  TENSOR_TYPE,
  TYPE,
  text,
  textOf,
  VALUE,
  value,
} from './onnx-proto.js'
import { bytesField, concat, fields, integers } from './protobuf.js'

export const STEP_OUTPUT = 'rejoin_step'
export const LOGITS_OUTPUT = 'rejoin_logits'
export const AT_INPUT = 'rejoin_at'
export const PAST = 'past_key_values.'
export const PRESENT = 'present.'

const INPUTS = ['input_ids', 'attention_mask', 'position_ids']

const EXTERNAL = 1n

/**
 * Where attention finds the newest position of a row that is shorter than its bucket.
 * `position`: GroupQueryAttention writes it behind the row's own length. `end`: it is appended behind the bucket.
 */
export type PresentLayout = 'position' | 'end'

/** Only what is needed: `type` is ONNX's number for the element type, 1 = float32; a dim is a size or a name. */
export type GraphValue = { name: string; type: number; shape: (number | string)[] }

export type GraphFile = {
  inputs: GraphValue[]
  outputs: GraphValue[]
  layout: PresentLayout
  /** It takes one row only. */
  single: boolean
  /** It scales activations by the largest of the whole tensor (int8): a row's logits depend on what runs beside it. */
  dynamic: boolean
  /** Weights lie in files of their own beside this one. */
  external: boolean
}

/**
 * @param file the bytes of an .onnx file
 * @throws Error when they are no ONNX model
 */
export const readGraph = (file: Uint8Array): GraphFile => {
  const graph: GraphFile = { inputs: [], outputs: [], layout: 'end', single: false, dynamic: false, external: false }
  const initialized = new Set<string>()
  try {
    for (const part of parts(file, MODEL.graph)) readPart(part, graph, initialized)
  } catch (error) {
    // What a download left instead of the file, such as a page or a Git LFS pointer.
    throw new Error(`not an ONNX model: ${(error as Error).message}`)
  }
  if (graph.outputs.length === 0) throw new Error('not an ONNX model: it has no outputs')
  // Old exports list their weights among the inputs.
  graph.inputs = graph.inputs.filter(({ name }) => !initialized.has(name))
  graph.single = graph.inputs.some(({ name, shape: [batch] }) => name === 'input_ids' && batch === 1)
  return graph
}

const readPart = (part: Uint8Array, graph: GraphFile, initialized: Set<string>): void => {
  for (const { field, value } of fields(part)) {
    if (!(value instanceof Uint8Array)) continue
    if (field === GRAPH.input) graph.inputs.push(readValue(value))
    if (field === GRAPH.output) graph.outputs.push(readValue(value))
    if (field === GRAPH.node) readNode(value, graph)
    if (field !== GRAPH.initializer) continue
    graph.external ||= isExternal(value)
    initialized.add(textOf(value, TENSOR.name))
  }
}

const readValue = (message: Uint8Array): GraphValue => {
  const value: GraphValue = { name: textOf(message, VALUE.name), type: 0, shape: [] }
  for (const type of parts(message, VALUE.type)) {
    for (const tensor of parts(type, TYPE.tensor)) {
      for (const part of fields(tensor)) {
        if (part.field === TENSOR_TYPE.elementType) value.type = Number(integers(part)[0])
        if (part.field === TENSOR_TYPE.shape && part.value instanceof Uint8Array) value.shape = readShape(part.value)
      }
    }
  }
  return value
}

/** A dim without size and name is `?`. */
const readShape = (message: Uint8Array): (number | string)[] =>
  [...parts(message, SHAPE.dim)].map((dim) => {
    for (const part of fields(dim)) {
      if (part.field === DIM.value) return Number(integers(part)[0])
      if (part.field === DIM.param && part.value instanceof Uint8Array) return text(part.value)
    }
    return '?'
  })

const readNode = (node: Uint8Array, graph: GraphFile): void => {
  const op = textOf(node, NODE.opType)
  if (op.startsWith('DynamicQuantize')) graph.dynamic = true
  if (op !== 'GroupQueryAttention') return
  if ([...parts(node, NODE.input)].some((input) => text(input).startsWith(PAST))) graph.layout = 'position'
}

const isExternal = (tensor: Uint8Array): boolean => {
  for (const part of fields(tensor)) if (part.field === TENSOR.dataLocation) return integers(part)[0] === EXTERNAL
  return false
}

/**
 * What the names of keys and values are (`0.key`, `0.value` …), and what they are like.
 * @throws Error when it is not a decoder with a cache, or one whose values are not float32
 */
export const checkGraph = ({ inputs, outputs }: GraphFile): { kvNames: string[]; shape: KvShape } => {
  const names = { inputs: inputs.map(({ name }) => name), outputs: outputs.map(({ name }) => name) }
  const past = inputs.filter(({ name }) => name.startsWith(PAST))
  if (past.length === 0) throw new Error('the graph has no past_key_values inputs: it was exported without a cache')
  const kvNames = past.map(({ name }) => name.slice(PAST.length))
  const missing = ['input_ids', 'attention_mask'].find((name) => !names.inputs.includes(name))
  if (missing) throw new Error(`the graph has no input ${missing}`)
  const unknown = names.inputs.find((name) => !name.startsWith(PAST) && !INPUTS.includes(name))
  if (unknown) throw new Error(`the graph has an input ${unknown}, which is not supported`)
  const needed = ['logits', ...kvNames.map((name) => PRESENT + name)]
  const absent = needed.find((name) => !names.outputs.includes(name))
  if (absent) throw new Error(`the graph has no output ${absent}`)
  const other = [...past, ...outputs.filter(({ name }) => needed.includes(name))].find(({ type }) => type !== FLOAT)
  if (other) {
    const { name, type } = other
    throw new Error(`${name} is of element type ${type}, not float32 (1): take an fp32, int8 or q4 file of this model`)
  }
  const ids = inputs.find(({ name, type }) => INPUTS.includes(name) && type !== INT64)
  if (ids) throw new Error(`${ids.name} is of element type ${ids.type}, not int64 (7), which is not supported`)
  const logits = outputs.find(({ name }) => name === 'logits')?.shape ?? []
  // A file need not say the shape of an output.
  if (logits.length !== 3 && logits.length > 0) {
    throw new Error(`logits has shape [${logits.join(', ')}], not [batch, length, vocabulary]`)
  }
  return { kvNames, shape: shapeOf(past) }
}

const shapeOf = (past: GraphValue[]): KvShape => {
  const [, heads, , headSize] = past[0]?.shape ?? []
  const other = past.find(({ shape }) => shape.length !== 4 || shape[1] !== heads || shape[3] !== headSize)
  if (other || typeof heads !== 'number' || typeof headSize !== 'number') {
    const { name, shape } = other ?? (past[0] as GraphValue)
    const message = 'every past input must be [batch, heads, length, head size] with the same heads and head size'
    throw new Error(`${name} has shape [${shape.join(', ')}]; ${message}, as fixed numbers`)
  }
  return { tensors: past.length, heads, headSize }
}

/** The hidden state of all positions, and the name under which the logits are now computed from the last one. */
export type LogitsCut = { hidden: string; last: string }

/** Operators whose output has a row for each row of the first input. */
const ROWWISE = ['MatMul', 'MatMulNBits']

/**
 * Makes the file's logits those of one position, in place: their first input gets another name of the same length,
 * which `addedOutputs` gives a meaning. Null, and nothing changed, where logits come about in another way.
 */
export const cutLogits = (file: Uint8Array): LogitsCut | null => {
  for (const graph of parts(file, MODEL.graph)) {
    for (const node of parts(graph, GRAPH.node)) {
      if (textOf(node, NODE.output) !== 'logits' || !ROWWISE.includes(textOf(node, NODE.opType))) continue
      const [input] = parts(node, NODE.input)
      if (!input || input.length < CUT_NAME.length) return null
      const hidden = text(input)
      const last = CUT_NAME.padEnd(input.length, '_')
      input.set(Buffer.from(last))
      return { hidden, last }
    }
  }
  return null
}

const CUT_NAME = 'rejoin_'

/**
 * What to append to the file.
 * @param kvNames `0.key`, `0.value` …: the order of `rejoin_step`
 * @param cut what `cutLogits` did to it
 * @param attention what computes the newest keys and values, where `present.*` are gone: see attention.ts
 */
export const addedOutputs = (
  kvNames: readonly string[],
  shape: KvShape,
  cut: LogitsCut | null,
  attention: Uint8Array | null = null,
): Uint8Array => {
  const dims = ['rejoin_batch', kvNames.length * shape.heads, 'rejoin_count', shape.headSize]
  return bytesField(
    MODEL.graph,
    concat(
      attention ?? newestOfPresent(kvNames, shape),
      node('Concat', kvNames.map(newestName), [STEP_OUTPUT], { axis: 1 }),
      ...(cut
        ? [constant('rejoin/cut', [-1]), node('Gather', [cut.hidden, 'rejoin/cut'], [cut.last], { axis: 1 })]
        : []),
      constant('rejoin/last', -1),
      node('Gather', ['logits', 'rejoin/last'], [LOGITS_OUTPUT], { axis: 1 }),
      value(GRAPH.output, STEP_OUTPUT, FLOAT, dims),
      value(GRAPH.output, LOGITS_OUTPUT, FLOAT, ['rejoin_batch', 'rejoin_vocabulary']),
    ),
  )
}

/** The newest positions of `0.key` …: [batch, heads, count, head size]. */
export const newestName = (kvName: string): string => `rejoin/${kvName}`

const newestOfPresent = (kvNames: readonly string[], { heads, headSize }: KvShape): Uint8Array =>
  concat(
    constant('rejoin/shape', [1, heads, 1, headSize]),
    value(GRAPH.input, AT_INPUT, INT64, ['rejoin_batch', 1, 'rejoin_count', 1]),
    node('Expand', [AT_INPUT, 'rejoin/shape'], ['rejoin/index']),
    ...kvNames.map((name) => node('GatherElements', [PRESENT + name, 'rejoin/index'], [newestName(name)], { axis: 2 })),
  )
