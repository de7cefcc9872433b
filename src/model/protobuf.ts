/**
 * The wire format of Protocol Buffers, as much of it as ONNX files have: fields in, fields out, no schema.
 *
 * A payload is never copied when read: `fields` gives views into the bytes that it was given, so walking a model of
 * hundreds of megabytes touches only tags and lengths. When written, `bytesHeader` is the part before a payload, for
 * whoever writes a large one himself. A repeated message that occurs twice is merged by every reader, so bytes
 * appended to a file add to the message in it. What the fields mean is the caller's to know; groups are refused, as
 * ONNX has none. Source: https://protobuf.dev/programming-guides/encoding
 */

/** A `varint` is unsigned here: `BigInt.asIntN(64, value)` is the number that an int64 field means. */
export type Field =
  | { field: number; type: 'varint'; value: bigint }
  /** Strings, nested messages, packed numbers; or the 8 or 4 bytes, little-endian, of a number of fixed size. */
  | { field: number; type: 'bytes' | 'fixed64' | 'fixed32'; value: Uint8Array }

const TYPES = { varint: 0, fixed64: 1, bytes: 2, fixed32: 5 } as const
const TYPE_NAMES = new Map(Object.entries(TYPES).map(([name, wire]) => [wire as number, name as Field['type']]))

// A varint of 64 bits takes at most 10 bytes of 7 bits.
const VARINT_BYTES = 10
const MAX_FIELD = 2 ** 29 - 1

const encoder = new TextEncoder()

/** One message of several fields. */
export const concat = (...parts: readonly Uint8Array[]): Uint8Array => {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0))
  let at = 0
  for (const part of parts) {
    whole.set(part, at)
    at += part.length
  }
  return whole
}

/** Negative numbers become the 10 bytes of an int64. */
export const varintField = (field: number, value: number | bigint): Uint8Array =>
  concat(tag(field, 'varint'), varint(value))

/** A string, a nested message, or packed numbers. */
export const bytesField = (field: number, value: Uint8Array | string): Uint8Array => {
  const bytes = typeof value === 'string' ? encoder.encode(value) : value
  return concat(bytesHeader(field, bytes.length), bytes)
}

/** What stands before a payload of `length` bytes. */
export const bytesHeader = (field: number, length: number): Uint8Array => concat(tag(field, 'bytes'), varint(length))

/** A `float`: 32 bits. */
export const floatField = (field: number, value: number): Uint8Array => {
  const bytes = new Uint8Array(4)
  new DataView(bytes.buffer).setFloat32(0, value, true)
  return concat(tag(field, 'fixed32'), bytes)
}

/** A repeated integer field in its packed form, which is the usual one. */
export const packedField = (field: number, values: readonly (number | bigint)[]): Uint8Array =>
  bytesField(field, concat(...values.map(varint)))

/**
 * The fields of a message, in the order they are written; repeated ones come once for each time.
 * @throws Error at the first field that is cut off or is no field at all; the ones before it were given
 */
export function* fields(message: Uint8Array): Generator<Field, void, undefined> {
  const cursor = new Cursor(message)
  while (!cursor.atEnd) {
    const start = cursor.at
    const key = Number(cursor.varint())
    const field = Math.floor(key / 8)
    const type = TYPE_NAMES.get(key % 8)
    if (type === undefined) throw new Error(`protobuf: wire type ${key % 8} at byte ${start} is not supported`)
    if (field < 1 || field > MAX_FIELD) throw new Error(`protobuf: ${field} at byte ${start} is no field number`)
    if (type === 'varint') yield { field, type, value: cursor.varint() }
    else if (type === 'bytes') yield { field, type, value: cursor.take(Number(cursor.varint())) }
    else yield { field, type, value: cursor.take(type === 'fixed64' ? 8 : 4) }
  }
}

/** The signed numbers of one occurrence of a repeated integer field: one where it is not packed, else any number. */
export const integers = (field: Field): bigint[] => {
  if (field.type === 'varint') return [BigInt.asIntN(64, field.value)]
  if (field.type !== 'bytes') throw new Error(`protobuf: field ${field.field} is ${field.type}, not integers`)
  const values: bigint[] = []
  const cursor = new Cursor(field.value)
  while (!cursor.atEnd) values.push(BigInt.asIntN(64, cursor.varint()))
  return values
}

/** The same for a repeated `float` field. */
export const floats = ({ field, type, value }: Field): number[] => {
  if (type === 'varint' || type === 'fixed64') throw new Error(`protobuf: field ${field} is ${type}, not floats`)
  if (value.length % 4 !== 0) throw new Error(`protobuf: field ${field} has ${value.length} bytes, which are no floats`)
  const view = new DataView(value.buffer, value.byteOffset, value.byteLength)
  return Array.from({ length: value.length / 4 }, (_, i) => view.getFloat32(i * 4, true))
}

const tag = (field: number, type: Field['type']): Uint8Array => {
  if (!Number.isInteger(field) || field < 1 || field > MAX_FIELD) throw new Error(`${field} is no field number`)
  return varint(field * 8 + TYPES[type])
}

/** BigInt throws for a number that is not an integer. */
const varint = (value: number | bigint): Uint8Array => {
  const bytes: number[] = []
  let rest = BigInt.asUintN(64, BigInt(value))
  for (; rest > 127n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128)
  bytes.push(Number(rest))
  return Uint8Array.from(bytes)
}

/** A place in a message. */
class Cursor {
  readonly #bytes: Uint8Array
  at = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  get atEnd(): boolean {
    return this.at === this.#bytes.length
  }

  varint(): bigint {
    const start = this.at
    // Tags and lengths fit in 4 bytes; BigInt arithmetic is kept for what does not.
    let small = 0
    let large = 0n
    for (let i = 0; i < VARINT_BYTES; i++) {
      const byte = this.#bytes[this.at]
      if (byte === undefined) throw new Error(`protobuf: the message ends within the varint at byte ${start}`)
      this.at++
      if (i < 4) small |= (byte & 127) << (7 * i)
      else large |= BigInt(byte & 127) << BigInt(7 * i)
      if (byte < 128) return i < 4 ? BigInt(small) : BigInt.asUintN(64, large | BigInt(small))
    }
    throw new Error(`protobuf: the varint at byte ${start} has more than ${VARINT_BYTES} bytes`)
  }

  /** A view, not a copy: `subarray` is one of a Uint8Array and of a Buffer alike. */
  take(length: number): Uint8Array {
    const left = this.#bytes.length - this.at
    if (length > left) {
      throw new Error(`protobuf: ${length} bytes at byte ${this.at} go beyond the message, which has ${left} more`)
    }
    const bytes = this.#bytes.subarray(this.at, this.at + length)
    this.at += length
    return bytes
  }
}
