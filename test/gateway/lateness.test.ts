import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Lateness } from '../../src/gateway/lateness.js'

test('what is longer ago than 20 seconds is forgotten, and nothing is 0', () => {
  const lateness = new Lateness()
  lateness.record(100, 1000)

  const soon = lateness.quantile(0.5, 12_000)
  const later = lateness.quantile(0.5, 23_000)

  assert.ok(soon >= 100, `${soon}`)
  assert.equal(later, 0)
})

test('what was recorded before a long silence does not count after it', () => {
  const lateness = new Lateness()
  lateness.record(500, 1000)

  lateness.record(1, 1_000_000)

  assert.ok(lateness.quantile(1, 1_000_000) < 2)
})
