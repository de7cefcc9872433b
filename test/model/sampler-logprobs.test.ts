import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { logprobs } from '../../src/model/logprobs.js'
import { rowOf } from './sampler-rows.js'

const near = (actual: number, expected: number, tolerance = 1e-6): void => {
  assert.ok(Math.abs(actual - expected) <= tolerance, `${actual} is not near ${expected}`)
}

test('logprobs are the logarithms of what the model gives, likeliest first', () => {
  const raw = Float32Array.of(0.1, 0.4, 0.2, 0.3).map(Math.log)

  const { logprob, top } = logprobs(raw, 2, 3)

  near(logprob, Math.log(0.2))
  assert.deepEqual(
    top.map(({ id }) => id),
    [1, 3, 2],
  )
  for (const [i, share] of [0.4, 0.3, 0.2].entries()) near(top[i]?.logprob ?? 0, Math.log(share))
})

test('of equal tokens the lower id comes first, none are given when none are asked for, and no more than there are', () => {
  const raw = Float32Array.of(1, 2, 2, 1)
  const ids = (n: number): number[] => logprobs(raw, 0, n).top.map(({ id }) => id)

  assert.deepEqual(ids(0), [])
  assert.deepEqual(ids(3), [1, 2, 0])
  assert.deepEqual(ids(20), [1, 2, 0, 3])
})

test('huge logits overflow nothing, a certain token has exactly 0, and what is ruled out is not among the likeliest', () => {
  const raw = Float32Array.of(3e38, -3e38, Number.NEGATIVE_INFINITY, Number.NaN)

  assert.deepEqual(logprobs(raw, 0, 4).top, [
    { id: 0, logprob: 0 },
    { id: 1, logprob: (raw[1] as number) - (raw[0] as number) },
  ])
  assert.equal(logprobs(raw, 2, 0).logprob, Number.NEGATIVE_INFINITY)
})

test('logprobs agree with a softmax over a sorted row, and leave the row as it was', () => {
  const property = fc.property(
    fc.nat(1000),
    fc.constantFrom(1, 5, 511, 2048),
    fc.nat(20),
    fc.nat(),
    (seed, size, n, at) => {
      const raw = rowOf(seed % 2 ? 'peaked' : 'flat', size, seed)
      const before = raw.slice()
      const max = Math.max(...raw)
      const total = raw.reduce((sum, logit) => sum + Math.exp(logit - max), 0)
      const expected = (id: number): number => (raw[id] as number) - max - Math.log(total)
      const sorted = [...raw.keys()].sort((a, b) => (raw[b] as number) - (raw[a] as number) || a - b)

      const { logprob, top } = logprobs(raw, at % size, n)

      near(logprob, expected(at % size), 1e-9)
      assert.deepEqual(
        top.map(({ id }) => id),
        sorted.slice(0, n),
      )
      for (const token of top) near(token.logprob, expected(token.id), 1e-9)
      assert.deepEqual(raw, before)
    },
  )

  fc.assert(property, { numRuns: 200 })
})

test('an id outside the vocabulary is a mistake of the caller, and a row without a finite logit one of the model', () => {
  assert.throws(() => logprobs(Float32Array.of(1, 2), 2, 0), RangeError)
  for (const raw of [[Number.NaN], [Number.NEGATIVE_INFINITY], [0, Number.POSITIVE_INFINITY]]) {
    assert.throws(() => logprobs(Float32Array.from(raw), 0, 1), { code: 'model_failed' })
  }
})
