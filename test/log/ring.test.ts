import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Ring } from '../../src/log/ring.js'

/** Event k ends at byte 10k and token 2k, and was said at k. */
const filled = (maxSlots: number, events: number): Ring => {
  const ring = new Ring(maxSlots)
  for (let seq = 1; seq <= events; seq++) ring.append(seq * 10, seq * 2, seq)
  return ring
}

const shown = (ring: Ring, seq: number): number[] => [ring.textEnd(seq), ring.tokenEnd(seq), ring.at(seq)]

test('an empty ring has nothing', () => {
  const ring = new Ring(16)

  assert.deepEqual([ring.last, ring.first, ring.has(0), ring.has(1)], [0, 1, false, false])
})

test('a ring grows up to its bound and then forgets the oldest', () => {
  assert.deepEqual([filled(64, 16).capacity, filled(64, 16).first], [192, 1])
  assert.deepEqual([filled(64, 17).capacity, filled(64, 17).first], [384, 1])
  assert.deepEqual([filled(64, 64).capacity, filled(64, 64).first], [768, 1])
  assert.deepEqual([filled(64, 65).capacity, filled(64, 65).first], [768, 2])
  assert.deepEqual([filled(64, 1000).capacity, filled(64, 1000).first], [768, 937])
})

test('the bound is rounded up to a power of two, at least 16', () => {
  assert.equal(filled(1, 100).first, 85)
  assert.equal(filled(17, 100).first, 69)
  assert.equal(filled(32, 100).first, 69)
})

test('what a ring has it knows exactly, across growth and wrap', () => {
  const property = fc.property(fc.integer({ min: 1, max: 70 }), fc.nat(300), (maxSlots, events) => {
    const ring = filled(maxSlots, events)

    assert.equal(ring.last, events)
    assert.equal(ring.has(ring.first - 1), false)
    assert.equal(ring.has(events + 1), false)
    for (let seq = ring.first; seq <= events; seq++) {
      assert.ok(ring.has(seq))
      assert.deepEqual(shown(ring, seq), [seq * 10, seq * 2, seq])
    }
  })

  fc.assert(property)
})

test('an offset of four billion bytes is kept as it is', () => {
  const ring = new Ring(16)

  ring.append(4_294_967_295, 4_294_967_295, 4_294_967_295)

  assert.deepEqual(shown(ring, 1), [4_294_967_295, 4_294_967_295, 4_294_967_295])
})

test('`lastWithin` finds what a walk over all events finds', () => {
  const lengths = fc.array(fc.nat(5), { minLength: 1, maxLength: 60 })
  const property = fc.property(lengths, fc.nat(200), fc.nat(), fc.nat(), (lengths, textEnd, a, b) => {
    const ring = new Ring(16)
    let end = 0
    for (const length of lengths) {
      end += length
      ring.append(end, end * 2, 0)
    }
    const low = ring.first + (a % (ring.last - ring.first + 1))
    const high = low + (b % (ring.last - low + 1))

    const found = ring.lastWithin(textEnd, low, high)

    let expected = low
    for (let seq = low; seq <= high; seq++) if (ring.textEnd(seq) <= textEnd) expected = seq
    assert.equal(found, expected)
    assert.equal(ring.lastWithinTokens(textEnd * 2, low, high), expected)
  })

  fc.assert(property, { numRuns: 500 })
})
