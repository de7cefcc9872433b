import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ERRORS, RejoinError } from '../../src/core/errors.js'

test('every code has a status of its kind and one line of meaning', () => {
  for (const [code, { status, retry, meaning }] of Object.entries(ERRORS)) {
    assert.match(code, /^[a-z_]+$/)
    assert.ok(status >= 400 && status < 600, code)
    assert.match(meaning, /^[^\n|]+$/, code)
    // A wait helps where the gateway is the reason, and nowhere else.
    assert.equal(retry, status === 429 || status >= 500 ? 'later' : 'never', code)
  }
})

test('an error carries its code, its status, its field and its wait', () => {
  const error = new RejoinError('queue_full', 'full', { param: 'p', retryAfterS: 3 })
  const plain = new RejoinError('internal', 'oops')

  assert.deepEqual([error.code, error.status, error.param, error.retryAfterS], ['queue_full', 429, 'p', 3])
  assert.deepEqual([plain.status, plain.param, plain.retryAfterS], [500, null, null])
})
