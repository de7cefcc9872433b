import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  bytesField,
  bytesHeader,
  concat,
  type Field,
  fields,
  floatField,
  floats,
  integers,
  packedField,
  varintField,
} from '../../src/model/protobuf.js'

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')
const bytes = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text.replaceAll(' ', ''), 'hex'))
const read = (text: string): Field[] => [...fields(bytes(text))]

test('fields are written as the samples of the format’s own document', () => {
  assert.equal(hex(varintField(1, 150)), '089601')
  assert.equal(hex(bytesField(2, 'testing')), '120774657374696e67')
  assert.equal(hex(bytesField(3, varintField(1, 150))), '1a03089601')
  assert.equal(hex(packedField(6, [3, 270, 86942])), '3206038e029ea705')
  assert.equal(hex(varintField(1, -2)), '08feffffffffffffffff01')
  assert.equal(hex(floatField(2, 1)), '150000803f')
  assert.equal(hex(bytesHeader(2, 300)), '12ac02')
  assert.equal(hex(varintField(2 ** 29 - 1, 0)), 'f8ffffff0f00')
})

test('fields are read in order, with the bytes of each kind', () => {
  assert.deepEqual(read('08 9601  12 02 6869  15 0000803f  19 0102030405060708  08 00'), [
    { field: 1, type: 'varint', value: 150n },
    { field: 2, type: 'bytes', value: bytes('6869') },
    { field: 2, type: 'fixed32', value: bytes('0000803f') },
    { field: 3, type: 'fixed64', value: bytes('0102030405060708') },
    { field: 1, type: 'varint', value: 0n },
  ])
  assert.deepEqual(read(''), [])
})

test('integers are read packed and not packed, and keep their sign', () => {
  assert.deepEqual(read('32 06 038e029ea705  30 05  32 00').map(integers), [[3n, 270n, 86942n], [5n], []])
  assert.deepEqual([...fields(packedField(1, [-1, 2n ** 62n, -(2n ** 63n)]))].map(integers), [
    [-1n, 2n ** 62n, -(2n ** 63n)],
  ])
  assert.throws(() => read('0d 00000000').map(integers), /field 1 is fixed32, not integers/)
})

test('floats are read packed and not packed', () => {
  assert.deepEqual(read('15 0000803f  12 08 000000c0 0000003f').map(floats), [[1], [-2, 0.5]])
  assert.throws(() => read('12 03 000000').map(floats), /field 2 has 3 bytes, which are no floats/)
  assert.throws(() => read('10 01').map(floats), /field 2 is varint, not floats/)
})

test('any integer of 64 bits comes back', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 2 ** 29 - 1 }), fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n), (field, value) => {
      const [read] = [...fields(varintField(field, value))]
      assert.deepEqual(read, { field, type: 'varint', value: BigInt.asUintN(64, value) })
    }),
  )
})

test('a payload is a view into the message, not a copy', () => {
  const message = concat(varintField(1, 1), bytesField(2, new Uint8Array(1000)))
  const [, payload] = [...fields(message)] as [Field, Field & { value: Uint8Array }]

  message[message.length - 1] = 7

  assert.equal(payload.value.buffer, message.buffer)
  assert.equal(payload.value[999], 7)
})

test('a message that is cut off anywhere within a field says so', () => {
  const parts = [varintField(1, 150), bytesField(2, 'testing'), floatField(3, 1), bytes('21 0102030405060708')]
  const whole = concat(...parts)
  const ends = new Set(parts.map((_, i) => concat(...parts.slice(0, i)).length))

  for (let length = 0; length < whole.length; length++) {
    const cut = () => [...fields(whole.subarray(0, length))]
    if (ends.has(length)) assert.doesNotThrow(cut)
    else assert.throws(cut, /^Error: protobuf: (the message ends within|\d+ bytes at byte \d+ go beyond)/)
  }
  assert.throws(() => read('12 0a 00'), /10 bytes at byte 2 go beyond the message, which has 1 more/)
})

test('bytes that are no message say where', () => {
  assert.throws(() => read('08 01 0b'), /wire type 3 at byte 2 is not supported/)
  assert.throws(() => read('00 01'), /0 at byte 0 is no field number/)
  assert.throws(() => read(`08 ${'ff'.repeat(11)}`), /the varint at byte 1 has more than 10 bytes/)
  assert.throws(() => read(`12 ${'ff'.repeat(9)}01`), /18446744073709552000 bytes at byte 11 go beyond/)
})

test('what cannot be a field is not written', () => {
  assert.throws(() => varintField(0, 1), /0 is no field number/)
  assert.throws(() => bytesField(2 ** 29, ''), /536870912 is no field number/)
  assert.throws(() => varintField(1, 0.5), RangeError)
})
