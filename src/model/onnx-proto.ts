/**
 * The messages of an .onnx file, as far as decoders are read and added to: field numbers, readers of one field, and
 * writers of what is appended.
 *
 * Nothing is copied when read, see protobuf.ts; what a message means is for graph.ts and attention.ts to know.
 * Field numbers: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
 */
import { bytesField, concat, fields, floatField, varintField } from './protobuf.js'

export const MODEL = { graph: 7, opset: 8 } as const
export const GRAPH = { node: 1, initializer: 5, input: 11, output: 12 } as const
export const NODE = { input: 1, output: 2, name: 3, opType: 4, attribute: 5, domain: 7 } as const
export const ATTRIBUTE = { name: 1, float: 2, int: 3, graph: 6, ints: 8, graphs: 11, type: 20 } as const
export const TENSOR = { dims: 1, dataType: 2, name: 8, rawData: 9, dataLocation: 14 } as const
export const VALUE = { name: 1, type: 2 } as const
export const TYPE = { tensor: 1 } as const
export const TENSOR_TYPE = { elementType: 1, shape: 2 } as const
export const SHAPE = { dim: 1 } as const
export const DIM = { value: 1, param: 2 } as const
export const OPSET = { domain: 1, version: 2 } as const
const ATTRIBUTE_TYPES = { float: 1, int: 2, ints: 7 } as const
export const FLOAT = 1
export const INT64 = 7

/** The operators that ONNX Runtime has beside the standard's. */
export const MICROSOFT = 'com.microsoft'

/** The payloads of one field. */
export function* parts(message: Uint8Array, field: number): Generator<Uint8Array, void, undefined> {
  for (const part of fields(message)) if (part.field === field && part.value instanceof Uint8Array) yield part.value
}

/** A field's text, '' where it is absent. */
export const textOf = (message: Uint8Array, field: number): string => {
  for (const part of parts(message, field)) return text(part)
  return ''
}

export const text = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('utf8')

/** An `int`, a list of them, or a `float`. */
export type Attribute = number | readonly number[] | { float: number }

/** @returns one node of a graph, to be appended */
export const node = (
  op: string,
  inputs: readonly string[],
  outputs: readonly string[],
  attributes: Record<string, Attribute> = {},
  domain = '',
): Uint8Array =>
  bytesField(
    GRAPH.node,
    concat(
      ...inputs.map((input) => bytesField(NODE.input, input)),
      ...outputs.map((output) => bytesField(NODE.output, output)),
      bytesField(NODE.name, `node/${outputs[0]}`),
      bytesField(NODE.opType, op),
      ...Object.entries(attributes).map(([name, content]) => bytesField(NODE.attribute, attribute(name, content))),
      ...(domain === '' ? [] : [bytesField(NODE.domain, domain)]),
    ),
  )

const attribute = (name: string, content: Attribute): Uint8Array => {
  const [type, value] = attributeValue(content)
  return concat(bytesField(ATTRIBUTE.name, name), value, varintField(ATTRIBUTE.type, ATTRIBUTE_TYPES[type]))
}

const attributeValue = (content: Attribute): [keyof typeof ATTRIBUTE_TYPES, Uint8Array] => {
  if (typeof content === 'number') return ['int', varintField(ATTRIBUTE.int, content)]
  if ('float' in content) return ['float', floatField(ATTRIBUTE.float, content.float)]
  return ['ints', concat(...content.map((each) => varintField(ATTRIBUTE.ints, each)))]
}

/** int64: a list, or a scalar, which has no dims. */
export const constant = (name: string, content: number | readonly number[]): Uint8Array => {
  const [dims, numbers] = typeof content === 'number' ? [[], [content]] : [[content.length], content]
  return bytesField(
    GRAPH.initializer,
    concat(
      ...dims.map((dim) => varintField(TENSOR.dims, dim)),
      varintField(TENSOR.dataType, INT64),
      bytesField(TENSOR.name, name),
      bytesField(TENSOR.rawData, new Uint8Array(BigInt64Array.from(numbers, BigInt).buffer)),
    ),
  )
}

/** A float32 scalar. */
export const number = (name: string, content: number): Uint8Array =>
  bytesField(
    GRAPH.initializer,
    concat(
      varintField(TENSOR.dataType, FLOAT),
      bytesField(TENSOR.name, name),
      bytesField(TENSOR.rawData, new Uint8Array(Float32Array.of(content).buffer)),
    ),
  )

/** An input or an output of the graph. */
export const value = (field: number, name: string, type: number, dims: readonly (string | number)[]): Uint8Array => {
  const shape = dims.map((dim) =>
    bytesField(SHAPE.dim, typeof dim === 'number' ? varintField(DIM.value, dim) : bytesField(DIM.param, dim)),
  )
  const tensor = concat(varintField(TENSOR_TYPE.elementType, type), bytesField(TENSOR_TYPE.shape, concat(...shape)))
  return bytesField(
    field,
    concat(bytesField(VALUE.name, name), bytesField(VALUE.type, bytesField(TYPE.tensor, tensor))),
  )
}
