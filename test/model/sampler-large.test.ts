import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { decay, REACH } from '../../src/model/decay.js'
import { History } from '../../src/model/history.js'
import { Sampler } from '../../src/model/sampler.js'
import { argmax, edgeOf, nextOver } from '../../src/model/select.js'
import { allowedBySorting, sampleBySorting } from './sampler-reference.js'
import { NEUTRAL, rowOf } from './sampler-rows.js'

const nothingSaid = new History([])

// Each of these sizes is at an edge: of the four that are looked at together, of a block, of what is sorted.
const SIZES = [1, 3, 127, 128, 129, 511, 512, 513, 1024, 3001]
const samplers = new Map(SIZES.map((size) => [size, new Sampler(size)]))

/** Peaked, flat, few different values, ascending, descending, all alike; with holes where a model rules tokens out. */
const anyRow = fc
  .record({
    size: fc.constantFrom(...SIZES),
    seed: fc.nat(1000),
    kind: fc.constantFrom('peaked', 'flat', 'coarse', 'ascending', 'descending', 'alike'),
    holes: fc.boolean(),
  })
  .map(({ size, seed, kind, holes }) => {
    const row = rowOf(kind === 'flat' ? 'flat' : 'peaked', size, seed)
    if (kind === 'coarse') row.set(row.map(Math.round))
    if (kind === 'ascending') row.sort()
    if (kind === 'descending') row.sort().reverse()
    if (kind === 'alike') row.fill(seed / 7)
    if (holes) for (let id = 0; id < size - 1; id += 5) row[id] = id % 2 ? Number.NaN : Number.NEGATIVE_INFINITY
    return row
  })

const anyFilters = fc.record({
  temperature: fc.double({ min: 0.2, max: 3, noNaN: true }),
  topK: fc.oneof(fc.constant(0), fc.integer({ min: 2, max: 60 }), fc.nat(4000)),
  // Nearer to 1, more tokens than one lie within the rounding of the sum.
  topP: fc.oneof(fc.constant(1), fc.double({ min: 0, max: 1 - 1e-9, noNaN: true })),
  minP: fc.oneof(fc.constant(0), fc.double({ min: 1e-6, max: 1, noNaN: true })),
})

/** A row whose holes are all -Infinity, for sorting cannot do with NaN. */
const sortable = (row: Float32Array): Float32Array =>
  row.map((logit) => (Number.isNaN(logit) ? Number.NEGATIVE_INFINITY : logit))

test('whatever the row and the filters, what is left is what sorting the vocabulary leaves', () => {
  let exact = 0
  const property = fc.property(anyRow, anyFilters, (row, filters) => {
    const sampler = samplers.get(row.length) as Sampler
    const sorted = allowedBySorting(sortable(row), filters)
    // What weighs nothing is never drawn, so it makes no difference whether it is left.
    const expected = sorted.ids.filter((_, i) => (sorted.weights[i] as number) > Math.exp(-REACH)).sort((a, b) => a - b)

    const { ids, weights } = sampler.candidates(row, { ...NEUTRAL, ...filters })
    const actual = [...ids].filter((_, i) => (weights[i] as number) > 0)

    // Sums in another order differ in the last bits, which can move the edge of top_p by one token.
    const differing =
      expected.filter((id) => !actual.includes(id)).length + actual.filter((id) => !expected.includes(id)).length
    assert.ok(differing <= 1, `${differing} tokens differ`)
    if (differing === 0) exact++
    assert.deepEqual(
      actual,
      [...actual].sort((a, b) => a - b),
    )
  })

  fc.assert(property, { numRuns: 600, seed: 1 })
  assert.ok(exact >= 594, `${exact} of 600 are the same to the token`)
})

test('the token that is drawn is the one that sorting draws', () => {
  let same = 0
  const property = fc.property(anyRow, anyFilters, fc.maxSafeInteger(), fc.nat(500), (row, filters, seed, position) => {
    const settings = { ...NEUTRAL, ...filters, seed }
    const before = row.slice()

    const id = (samplers.get(row.length) as Sampler).sample(row, settings, nothingSaid, position)

    assert.deepEqual(row, before)
    if (id === sampleBySorting(sortable(row), settings, position)) same++
  })

  fc.assert(property, { numRuns: 600, seed: 2 })
  assert.ok(same >= 594, `${same} of 600 are the same`)
})

test('a vocabulary of 150,000 gives the tokens that sorting gives', () => {
  const sampler = new Sampler(150_000)
  const ways = [{}, { topK: 40 }, { topP: 0.9 }, { topP: 0.95, minP: 0.05 }, { minP: 0.1 }, { topK: 100, topP: 0.5 }]
  for (const shape of ['peaked', 'flat'] as const) {
    const row = rowOf(shape, 150_000, 4)
    for (const way of ways) {
      const settings = { ...NEUTRAL, ...way, temperature: 0.7, seed: 11 }
      assert.equal(sampler.sample(row, settings, nothingSaid, 3), sampleBySorting(row, settings, 3))
    }
  }
})

test('a sampler keeps nothing from one row to the next', () => {
  const shared = new Sampler(3001)
  const property = fc.property(fc.nat(1000), fc.nat(1000), anyFilters, anyFilters, (one, other, before, settings) => {
    shared.sample(rowOf('flat', 3001, one), { ...NEUTRAL, ...before }, nothingSaid, 0)
    const row = rowOf('peaked', 3001, other)

    const afterAnother = shared.sample(row, { ...NEUTRAL, ...settings }, nothingSaid, 5)

    assert.equal(afterAnother, new Sampler(3001).sample(row, { ...NEUTRAL, ...settings }, nothingSaid, 5))
  })

  fc.assert(property, { numRuns: 50 })
})

test('a row of another size than the sampler was made for is refused', () => {
  const sampler = new Sampler(10)

  assert.throws(() => sampler.sample(new Float32Array(11), NEUTRAL, nothingSaid, 0), {
    message: 'the sampler is for a vocabulary of 10, not 11',
  })
})

test('extreme temperatures are greedy at one end and even at the other', () => {
  const row = Float32Array.of(1, 2, 3, 3)
  const sampler = new Sampler(4)
  const weights = (temperature: number): number[] => [...sampler.candidates(row, { ...NEUTRAL, temperature }).weights]

  assert.deepEqual(weights(5e-324), [0, 0, 1, 1])
  assert.deepEqual(weights(1e300), [1, 1, 1, 1])
})

test('the edge is where the largest reach a count or a sum, with as many of the last value as it takes', () => {
  const values = [4, 1, 4, 2, 1, 2, 2]
  const edge = (target: number, by: 'count' | 'sum') => edgeOf(Float64Array.from(values), values.length, target, by)

  assert.deepEqual(edge(1, 'count'), { value: 4, equals: 1 })
  assert.deepEqual(edge(4, 'count'), { value: 2, equals: 2 })
  assert.deepEqual(edge(0, 'sum'), { value: 4, equals: 1 })
  assert.deepEqual(edge(8, 'sum'), { value: 4, equals: 2 })
  assert.deepEqual(edge(8.5, 'sum'), { value: 2, equals: 1 })
  assert.deepEqual(edge(99, 'sum'), { value: 1, equals: 2 })
})

test('the edge among many, spread evenly, over 40 powers of ten or all alike, is that of a sorted list', () => {
  const lists: ((i: number) => number)[] = [(i) => i, (i) => 10 ** (-40 * (i / 5000)), () => 0.25, (i) => i % 3]
  for (const at of lists) {
    // 7919 is a prime, so every i from 0 to 4999 comes once.
    const values = Float64Array.from({ length: 5000 }, (_, i) => at((i * 7919) % 5000))
    const sorted = values.slice().sort().reverse()
    for (const k of [1, 2, 40, 129, 2500, 4999, 5000]) {
      const value = sorted[k - 1] as number
      assert.deepEqual(edgeOf(values.slice(), 5000, k, 'count'), { value, equals: k - sorted.indexOf(value) })
    }
  }
})

test('the largest is found wherever it stands, and NaN is passed over', () => {
  for (let length = 1; length <= 12; length++) {
    for (let at = 0; at < length; at++) {
      const row = new Float32Array(length).fill(-1)
      row[at] = 5
      row[(at + 1) % length] = length > 1 ? Number.NaN : 5

      assert.equal(argmax(row), at)
      assert.equal(nextOver(row, 0, 4), at)
      assert.equal(nextOver(row, at + 1, 4), length)
    }
  }
})

test('the exponential is right to 12 digits, exactly 1 at 0, and 0 where it no longer counts', () => {
  for (let y = 0; y <= REACH; y += 0.000_97) {
    assert.ok(Math.abs(decay(y) / Math.exp(-y) - 1) < 1e-12, `at ${y}`)
  }
  assert.deepEqual([decay(0), decay(REACH + 0.001), decay(Number.POSITIVE_INFINITY), decay(Number.NaN)], [1, 0, 0, 0])
})

test('rows are made from their seed alone, and are as peaked or as flat as they say', () => {
  const nucleus = (shape: 'peaked' | 'flat'): number =>
    allowedBySorting(rowOf(shape, 32_000, 1), { ...NEUTRAL, topP: 0.9 }).ids.length

  assert.deepEqual(rowOf('peaked', 2048, 7), rowOf('peaked', 2048, 7))
  assert.notDeepEqual(rowOf('peaked', 2048, 7), rowOf('peaked', 2048, 8))
  assert.ok(nucleus('peaked') > 20 && nucleus('peaked') < 120, `${nucleus('peaked')} of 32,000`)
  assert.ok(nucleus('flat') > 20_000, `${nucleus('flat')} of 32,000`)
})
