import assert from 'node:assert/strict'
import { test } from 'node:test'
import { batchByLength } from '../../src/model/length-batches.js'

test('rows go longest first into batches whose padded size is within the bound', () => {
  assert.deepEqual(batchByLength([8, 10, 9, 10], 30), [[1, 3, 2], [0]])
  assert.deepEqual(batchByLength([5, 5, 5, 5], 20), [[0, 1, 2, 3]])
  assert.deepEqual(batchByLength([], 20), [])
})

test('a row is never padded to more than twice its length', () => {
  assert.deepEqual(batchByLength([3, 100, 50, 49, 4, 3], 1000), [[1, 2], [3], [4, 0, 5]])
})

test('a row that is longer than the bound has a batch of its own', () => {
  assert.deepEqual(batchByLength([20, 300, 20], 100), [[1], [0, 2]])
  assert.deepEqual(batchByLength([7, 7, 7], 0), [[0], [1], [2]])
})
