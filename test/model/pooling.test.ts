import assert from 'node:assert/strict'
import { test } from 'node:test'
import { firstOf, meanOf, unit } from '../../src/model/pooling.js'

// Two rows of two positions; the second position of the second row is padding.
const hidden = { data: Float32Array.of(1, 2, 3, 6, -1, 5, 99, 99), width: 2, size: 2 }

test('the mean is over the positions of a row that are no padding', () => {
  assert.deepEqual(meanOf(hidden, 0, 2), Float64Array.of(2, 4))
  assert.deepEqual(meanOf(hidden, 1, 1), Float64Array.of(-1, 5))
})

test('the first token’s vector is the one at the first position of the row', () => {
  assert.deepEqual([firstOf(hidden, 0), firstOf(hidden, 1)], [Float32Array.of(1, 2), Float32Array.of(-1, 5)])
})

test('a normalised vector is 1 long and points the same way', () => {
  assert.deepEqual(unit(Float32Array.of(3, 0, -4)), Float32Array.of(0.6, 0, -0.8))
  assert.deepEqual(unit(Float64Array.of(0, 1e-300)), Float32Array.of(0, 0))
  assert.deepEqual(unit(Float32Array.of(0, 1e-30)), Float32Array.of(0, 1))
})

test('a vector of zeros stays one: it points nowhere', () => {
  assert.deepEqual(unit(Float32Array.of(0, 0)), Float32Array.of(0, 0))
})

test('a vector that is not of finite numbers is refused', () => {
  for (const value of [Number.NaN, Number.POSITIVE_INFINITY]) {
    assert.throws(() => unit(Float32Array.of(1, value)), /not of finite numbers/)
  }
})
