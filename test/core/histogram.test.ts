import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Histogram } from '../../src/core/histogram.js'

const times = fc.array(fc.double({ min: 0.02, max: 60_000, noNaN: true }), { minLength: 1, maxLength: 200 })

const of = (ms: number[]): Histogram => {
  const histogram = new Histogram()
  for (const each of ms) histogram.record(each)
  return histogram
}

test('a quantile is right to 6 %, and not below', () => {
  fc.assert(
    fc.property(times, fc.double({ min: 0.01, max: 1, noNaN: true }), (ms, part) => {
      const exact = [...ms].sort((a, b) => a - b)[Math.ceil(part * ms.length) - 1] as number

      const told = of(ms).quantile(part)

      assert.ok(told >= exact * 0.9999 && told <= exact * 1.06, `${told} for ${exact}`)
    }),
  )
})

test('two that are added are as one that had all', () => {
  fc.assert(
    fc.property(times, times, (some, others) => {
      const sum = of(some)
      sum.add(of(others))

      const all = of([...some, ...others])
      assert.deepEqual(sum.buckets(), all.buckets())
      assert.deepEqual([sum.count, sum.max], [all.count, all.max])
      assert.ok(Math.abs(sum.mean - all.mean) < 1e-6 * all.mean)
    }),
  )
})

test('nothing is 0, and so is what is over when it is cleared', () => {
  const histogram = of([5, 7])

  histogram.clear()

  assert.deepEqual([histogram.quantile(0.5), histogram.mean, histogram.max, histogram.buckets()], [0, 0, 0, []])
})

test('times beyond all measure are told, exactly as the longest', () => {
  const histogram = of([0, 1e12])

  assert.ok(histogram.quantile(0.5) <= 0.01)
  assert.equal(histogram.max, 1e12)
  assert.ok(histogram.quantile(1) > 45 * 3_600_000)
})

test('buckets hold what was recorded, each up to its time', () => {
  const buckets = of([1, 1, 100]).buckets()

  assert.deepEqual(
    buckets.filter(({ count }) => count > 0).map(({ count }) => count),
    [2, 1],
  )
  const [first, last] = [buckets[0]?.toMs ?? 0, buckets.at(-1)?.toMs ?? 0]
  assert.ok(first >= 1 && first < 1.06 && last >= 100 && last < 106)
})
