import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { unpack as otherUnpack, Packr } from 'msgpackr'
import { Entry } from '../../src/core/entry.js'
import { RejoinError } from '../../src/core/errors.js'
import type { TaskEvent } from '../../src/core/event.js'
import { parseFrame } from '../../src/wire/frames.js'
import { entryMsgpack, pack, unpack } from '../../src/wire/msgpack.js'
import { parseTaskRequest } from '../../src/wire/request.js'

// JSON has no -0. The reader renames a key `__proto__`, on purpose; no value of ours has one.
const jsonValue = fc
  .jsonValue()
  .map((value): unknown => JSON.parse(JSON.stringify(value)))
  .filter((value) => !JSON.stringify(value).includes('__proto__'))

test('values come back from a pack, also when others were packed meanwhile', () => {
  const property = fc.property(fc.array(jsonValue, { maxLength: 5 }), (values) => {
    const packed = values.map(pack)

    const unpacked = packed.map(unpack)

    assert.deepEqual(unpacked, values)
  })

  fc.assert(property, { numRuns: 300 })
})

test('any other msgpack reader understands an entry, with plain numbers', () => {
  const event: TaskEvent = {
    task: 'task_x',
    seq: 2 ** 40,
    at: 1_790_000_000_000,
    type: 'token',
    text: 'é😀',
    tokens: 3,
  }
  const entry = new Entry(event)

  const bytes = entryMsgpack(entry)

  assert.deepEqual(otherUnpack(bytes), event)
  assert.equal(entryMsgpack(entry), bytes)
})

test('a 64-bit integer is read as a number, so that what follows can compare it', () => {
  const bytes = Buffer.from([0xcf, 0, 0, 0, 0x01, 0, 0, 0, 0])

  assert.equal(unpack(bytes), 2 ** 32)
})

test('bytes that are not exactly one value are refused', () => {
  const broken = [[], [0x92, 0x01], [0x01, 0x02], [0xa5, 0x61], [0xdf, 0xff, 0xff, 0xff, 0xff]]

  for (const bytes of broken) {
    assert.throws(() => unpack(Buffer.from(bytes)), { name: 'RejoinError', code: 'invalid_json' }, String(bytes))
  }
})

test('any bytes give a value or a refusal, and nothing else', () => {
  const property = fc.property(fc.uint8Array({ maxLength: 30 }), (bytes) => {
    try {
      unpack(bytes)
    } catch (error) {
      assert.ok(error instanceof RejoinError, `threw ${error}`)
    }
  })

  fc.assert(property, { numRuns: 2000 })
})

/** What a binary frame meets on its way in. */
const receive = (bytes: Uint8Array): void => {
  try {
    const frame = parseFrame(unpack(bytes))
    if (frame?.type === 'submit') parseTaskRequest(frame.request, () => 1)
  } catch (error) {
    assert.ok(error instanceof RejoinError, `threw ${error}`)
  }
}

test('a value that JSON does not have is refused like any other wrong value', () => {
  const packr = new Packr({ useRecords: false, moreTypes: true })
  const values = [
    undefined,
    Number.NaN,
    10n,
    10n ** 30n,
    new Date(0),
    new Date(Number.NaN),
    new Uint8Array(3),
    new Map(),
  ]

  for (const value of [...values, new Set([1]), /x/, new Error('x'), new Float32Array(2), new Map([[{}, 1n]])]) {
    receive(packr.pack({ type: 'submit', prompt: value }))
    receive(packr.pack({ type: 'submit', prompt: 'x', metadata: value }))
    receive(packr.pack({ type: 'subscribe', task: 't', after: value }))
    receive(packr.pack(value))
  }
})

test('any bytes in place of a value give a frame or a refusal, and nothing else', () => {
  const extension = fc
    .tuple(fc.constantFrom(0xd4, 0xd5, 0xd6, 0xd7, 0xd8), fc.nat(255), fc.uint8Array({ minLength: 16, maxLength: 16 }))
    .map(([size, type, bytes]) => new Uint8Array([size, type, ...bytes.subarray(0, 2 ** (size - 0xd4))]))
  const submit = pack({ type: 'submit', prompt: 1 })
  const subscribe = pack({ type: 'subscribe', task: 't', after: 1 })
  const property = fc.property(fc.oneof(extension, fc.uint8Array({ maxLength: 30 })), (bytes) => {
    for (const frame of [submit, subscribe]) receive(Buffer.concat([frame.subarray(0, -1), bytes]))
  })

  fc.assert(property, { numRuns: 3000 })
})

test('a string that is not UTF-8 is refused, and a replacement character that was sent as one is not', () => {
  // A map of one pair: "a" and a string of two bytes that no character has.
  const broken = Uint8Array.from([0x81, 0xa1, 0x61, 0xa2, 0xff, 0xfe])

  assert.throws(() => unpack(broken), { name: 'RejoinError', code: 'invalid_json' })
  assert.deepEqual(unpack(pack({ a: ['\uFFFD'] })), { a: ['\uFFFD'] })
})
