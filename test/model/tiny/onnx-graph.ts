/**
 * Writes ONNX files: nodes and tensors are added one after another, and `files` gives the bytes.
 *
 * Nodes and their outputs are named as PyTorch's exporter does, `/model/layers.0/mlp/MatMul_1`, by the scope that was
 * entered last. Nothing is checked here: ONNX Runtime does that when it loads the file. Field numbers are those of
 * onnx.proto3 (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3).
 */
import { bytesField, bytesHeader, concat, floatField, packedField, varintField } from '../../../src/model/protobuf.js'

export const MICROSOFT = 'com.microsoft'

/** TensorProto.DataType */
export const TYPES = { float: 1, uint8: 2, int8: 3, int32: 6, int64: 7, bool: 9, float16: 10 } as const
export type ElementType = keyof typeof TYPES

type TensorData = Float32Array | Uint8Array | Int8Array | BigInt64Array

/** A plain number is an `int`, as most attributes are; a `float` says so. */
export type Attribute = number | readonly number[] | string | { float: number }

/** A name stands for a size that is known only when the graph runs. */
type Dims = readonly (number | string)[]

type NodeFields = { domain?: string; name?: string; outputs?: readonly string[] }
type Initializer = { name: string; type: ElementType; dims: readonly number[]; data: TensorData }

// Smaller ones stay in the file also where there is external data, as onnx.save does it: shapes must be known early.
const EXTERNAL_MIN_BYTES = 1024
const EXTERNAL_ALIGNMENT = 64

const IR_VERSION = 8
const OPSET = 17
const EXTERNAL = 1

export class Graph {
  readonly #nodes: Uint8Array[] = []
  readonly #inputs: Uint8Array[] = []
  readonly #outputs: Uint8Array[] = []
  readonly #initializers = new Map<string, Initializer>()
  readonly #named = new Map<string, number>()
  #scope = ''
  #microsoft = false

  /** Nodes from here on are named under `scope`, such as `/model/layers.0/mlp`. */
  enter(scope: string): void {
    this.#scope = scope
  }

  input(name: string, type: ElementType, dims: Dims): string {
    this.#inputs.push(bytesField(11, valueInfo(name, type, dims)))
    return name
  }

  output(name: string, type: ElementType, dims: Dims): void {
    this.#outputs.push(bytesField(12, valueInfo(name, type, dims)))
  }

  /** A tensor in the file; one that has the same name as an earlier one is that one. */
  tensor(name: string, dims: readonly number[], data: TensorData): string {
    if (!this.#initializers.has(name)) this.#initializers.set(name, { name, type: typeOf(data), dims, data })
    return name
  }

  float(value: number): string {
    return this.tensor(`/constants/float/${value}`, [], Float32Array.of(value))
  }

  /** An int64 scalar for a number, a vector for a list. */
  int(value: number | readonly number[]): string {
    const values = typeof value === 'number' ? [value] : value
    const dims = typeof value === 'number' ? [] : [values.length]
    const name = `/constants/int64/${typeof value === 'number' ? 'scalar' : 'vector'}/${values.join('_')}`
    return this.tensor(name, dims, BigInt64Array.from(values, BigInt))
  }

  /** @returns the name of the first output */
  op(
    type: string,
    inputs: readonly string[],
    attributes: Record<string, Attribute> = {},
    fields: NodeFields = {},
  ): string {
    const { domain = '', name = this.#name(type), outputs = [`${name}_output_0`] } = fields
    if (domain === MICROSOFT) this.#microsoft = true
    const node = concat(
      ...inputs.map((input) => bytesField(1, input)),
      ...outputs.map((output) => bytesField(2, output)),
      bytesField(3, name),
      bytesField(4, type),
      ...Object.entries(attributes).map(([name, value]) => bytesField(5, attribute(name, value))),
      bytesField(7, domain),
    )
    this.#nodes.push(bytesField(1, node))
    return outputs[0] as string
  }

  /**
   * @param externalFile the name of a file beside the model's, for the tensors' data; null to have all in one file
   * @returns the bytes of the model and of that file
   */
  files(externalFile: string | null): { model: Uint8Array; external: Uint8Array | null } {
    const external: Uint8Array[] = []
    let offset = 0
    const initializers = [...this.#initializers.values()].map((one) => {
      if (externalFile === null || one.data.byteLength < EXTERNAL_MIN_BYTES) return bytesField(5, inFile(one))
      const padding = -one.data.byteLength & (EXTERNAL_ALIGNMENT - 1)
      const tensor = elsewhere(one, externalFile, offset)
      external.push(rawBytes(one.data), new Uint8Array(padding))
      offset += one.data.byteLength + padding
      return bytesField(5, tensor)
    })
    const graph = [...this.#nodes, bytesField(2, 'main_graph'), ...initializers, ...this.#inputs, ...this.#outputs]
    const model = concat(
      varintField(1, IR_VERSION),
      bytesField(2, 'tiny'),
      bytesHeader(
        7,
        graph.reduce((length, part) => length + part.length, 0),
      ),
      ...graph,
      bytesField(8, opset('', OPSET)),
      ...(this.#microsoft ? [bytesField(8, opset(MICROSOFT, 1))] : []),
    )
    return { model, external: externalFile === null ? null : concat(...external) }
  }

  #name(type: string): string {
    const name = `${this.#scope}/${type}`
    const count = this.#named.get(name) ?? 0
    this.#named.set(name, count + 1)
    return count === 0 ? name : `${name}_${count}`
  }
}

const opset = (domain: string, version: number): Uint8Array => concat(bytesField(1, domain), varintField(2, version))

const valueInfo = (name: string, type: ElementType, dims: Dims): Uint8Array => {
  const shape = dims.map((dim) => bytesField(1, typeof dim === 'string' ? bytesField(2, dim) : varintField(1, dim)))
  const tensorType = concat(varintField(1, TYPES[type]), bytesField(2, concat(...shape)))
  return concat(bytesField(1, name), bytesField(2, bytesField(1, tensorType)))
}

const attribute = (name: string, value: Attribute): Uint8Array => {
  const [type, encoded] = attributeValue(value)
  return concat(bytesField(1, name), encoded, varintField(20, type))
}

/** AttributeProto.AttributeType and the value. */
const attributeValue = (value: Attribute): [number, Uint8Array] => {
  if (typeof value === 'number') return [2, varintField(3, value)]
  if (typeof value === 'string') return [3, bytesField(4, value)]
  if ('float' in value) return [1, floatField(2, value.float)]
  return [7, packedField(8, value)]
}

const header = ({ name, type, dims }: Initializer): Uint8Array =>
  concat(packedField(1, dims), varintField(2, TYPES[type]), bytesField(8, name))

const inFile = (tensor: Initializer): Uint8Array => concat(header(tensor), bytesField(9, rawBytes(tensor.data)))

const elsewhere = (tensor: Initializer, location: string, offset: number): Uint8Array => {
  const entries = { location, offset, length: tensor.data.byteLength }
  const place = Object.entries(entries).map(([key, value]) =>
    bytesField(13, concat(bytesField(1, key), bytesField(2, String(value)))),
  )
  return concat(header(tensor), ...place, varintField(14, EXTERNAL))
}

const rawBytes = ({ buffer, byteOffset, byteLength }: TensorData): Uint8Array =>
  new Uint8Array(buffer, byteOffset, byteLength)

const typeOf = (data: TensorData): ElementType => {
  if (data instanceof Float32Array) return 'float'
  if (data instanceof Uint8Array) return 'uint8'
  return data instanceof Int8Array ? 'int8' : 'int64'
}
