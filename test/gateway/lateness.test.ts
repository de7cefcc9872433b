import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Lateness } from '../../src/gateway/lateness.js'

const times = fc.array(fc.double({ min: 0.02, max: 60_000, noNaN: true }), { minLength: 1, maxLength: 200 })

test('a quantile is right to 6 %, and not below', () => {
  fc.assert(
    fc.property(times, fc.double({ min: 0.01, max: 1, noNaN: true }), (ms, part) => {
      const lateness = new Lateness()
      for (const each of ms) lateness.record(each, 1)

      const sorted = [...ms].sort((a, b) => a - b)
      const exact = sorted[Math.ceil(part * sorted.length) - 1] as number
      const told = lateness.quantile(part, 1)
      assert.ok(told >= exact * 0.9999 && told <= exact * 1.06, `${told} for ${exact}`)
    }),
  )
})

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

test('times beyond all measure are told as the longest there is', () => {
  const lateness = new Lateness()
  lateness.record(0, 1)
  lateness.record(1e12, 1)

  assert.ok(lateness.quantile(0.5, 1) <= 0.01)
  assert.ok(lateness.quantile(1, 1) > 60_000)
})
