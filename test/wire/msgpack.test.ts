import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { unpack as otherUnpack } from 'msgpackr'
import { Entry } from '../../src/core/entry.js'
import { RejoinError } from '../../src/core/errors.js'
import type { TaskEvent } from '../../src/core/event.js'
import { entryMsgpack, pack, unpack } from '../../src/wire/msgpack.js'

const jsonValue = fc.jsonValue({ noUnicodeString: false } as fc.JsonSharedConstraints)

test('values come back from a pack, also when others were packed meanwhile', () => {
  const property = fc.property(fc.array(jsonValue, { maxLength: 5 }), (values) => {
    const packed = values.map(pack)

    const unpacked = packed.map(unpack)

    assert.deepEqual(unpacked, values)
  })

  fc.assert(property, { numRuns: 300 })
})

test('any other msgpack reader understands an entry, with plain numbers', () => {
  const event: TaskEvent = { task: 'task_x', seq: 2 ** 40, at: 1_790_000_000_000, type: 'token', text: 'é😀', tokens: 3 }
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
  const broken = [[], [0x92, 0x01], [0x01, 0x02], [0xa5, 0x61], [0xc1], [0xdf, 0xff, 0xff, 0xff, 0xff]]

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
