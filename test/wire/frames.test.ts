import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { RejoinError } from '../../src/core/errors.js'
import { parseFrame, refOf } from '../../src/wire/frames.js'
import { parseJson } from '../../src/wire/request.js'

test('each frame of the table is read with its values', () => {
  assert.deepEqual(parseFrame({ type: 'submit', ref: 'r', prompt: 'x', priority: 3 }), {
    type: 'submit',
    ref: 'r',
    request: { prompt: 'x', priority: 3 },
  })
  assert.deepEqual(parseFrame({ type: 'submit' }), { type: 'submit', request: {} })
  assert.deepEqual(parseFrame({ type: 'subscribe', ref: 1, task: 't', after: 7 }), {
    type: 'subscribe',
    ref: 1,
    task: 't',
    after: 7,
  })
  assert.deepEqual(parseFrame({ type: 'unsubscribe', task: 't' }), { type: 'unsubscribe', task: 't' })
  assert.deepEqual(parseFrame({ type: 'cancel', ref: 0, task: 't' }), { type: 'cancel', ref: 0, task: 't' })
  assert.deepEqual(parseFrame({ type: 'ping', ref: '' }), { type: 'ping', ref: '' })
})

test('a subscription without a position begins at the start', () => {
  assert.deepEqual(parseFrame({ type: 'subscribe', task: 't' }), { type: 'subscribe', task: 't', after: 0 })
})

test('a position that is no whole number from 0 is refused as one', () => {
  for (const after of [-1, 0.5, '3', '', 2 ** 53, [], {}, true]) {
    assert.throws(
      () => parseFrame({ type: 'subscribe', task: 't', after }),
      { code: 'invalid_position', param: 'after' },
      JSON.stringify(after),
    )
  }
})

test('a position that is deeply nested is refused as one', () => {
  const after = `${'['.repeat(200_000)}${']'.repeat(200_000)}`
  const frame = parseJson(Buffer.from(`{"type":"subscribe","task":"t","after":${after}}`))

  assert.throws(() => parseFrame(frame), { code: 'invalid_position', param: 'after' })
})

test('what is no object of the table is no frame', () => {
  const others = [
    null,
    1,
    'ping',
    [],
    {},
    { type: 'pong' },
    { type: ['ping'] },
    { type: 'ping', ref: {} },
    { type: 'ping', ref: 'r'.repeat(201) },
    { type: 'ping', more: 1 },
    { type: 'cancel' },
    { type: 'cancel', task: 1 },
    { type: 'cancel', task: 't'.repeat(201) },
    { type: 'subscribe', after: 1 },
    { type: 'unsubscribe', task: 't', after: 1 },
    { ref: 'r', task: 't' },
  ]

  for (const other of others) assert.equal(parseFrame(other), null, JSON.stringify(other))
})

test('any JSON value is a frame, no frame, or refused', () => {
  const field = fc.constantFrom('type', 'ref', 'task', 'after', 'prompt', '__proto__')
  const value = fc.oneof(fc.constantFrom('submit', 'subscribe', 'unsubscribe', 'cancel', 'ping'), fc.jsonValue())
  const property = fc.property(fc.oneof(fc.jsonValue(), fc.dictionary(field, value)), (value) => {
    try {
      parseFrame(JSON.parse(JSON.stringify(value)))
    } catch (error) {
      assert.ok(error instanceof RejoinError, `threw ${error}`)
    }
    refOf(value)
  })

  fc.assert(property, { numRuns: 1000 })
})

test('a refused frame gives back its ref and its task, as far as it has them', () => {
  assert.deepEqual(refOf({ type: 'x', ref: 5, task: 't' }), { ref: 5, task: 't' })
  assert.deepEqual(refOf({ ref: {}, task: 1 }), {})
  assert.deepEqual(refOf(null), {})
  assert.deepEqual(refOf('x'), {})
})
