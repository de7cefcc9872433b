import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { KvCache } from '../../src/model/kv-cache.js'
import { type KvRequest, planKv } from '../../src/model/kv-plan.js'

// 256 bytes a position, so that 64 of them take 16 KiB.
const SHAPE = { tensors: 2, heads: 1, headSize: 32 }
const KIB = 1024
const MIB = 1024 * KIB

const plan = (request: Partial<KvRequest>) =>
  planKv({ shape: SHAPE, contextTokens: 8192, slots: 8, maxBytes: 64 * MIB, prefixCacheBytes: 0, ...request })

test('slots and context stay as they were asked for where they fit', () => {
  const all = { slots: 8, contextTokens: 8192, cacheBytes: 16 * MIB, prefixCacheBytes: 0 }

  assert.deepEqual(plan({}), all)
  assert.deepEqual(plan({ maxBytes: 16 * MIB }), all)
})

test('context is given up before slots, down to 4096 tokens', () => {
  const halved = { slots: 8, contextTokens: 4096, cacheBytes: 8 * MIB, prefixCacheBytes: 0 }

  assert.deepEqual(plan({ maxBytes: 16 * MIB - 1 }), { ...halved, contextTokens: 8128, cacheBytes: 15.875 * MIB })
  assert.deepEqual(plan({ maxBytes: 8 * MIB }), halved)
})

test('slots are given up before the last 4096 tokens of context, down to one', () => {
  assert.deepEqual(plan({ maxBytes: 8 * MIB - 1 }), {
    slots: 7,
    contextTokens: 4672,
    cacheBytes: 7 * 73 * 16 * KIB,
    prefixCacheBytes: 0,
  })
  assert.deepEqual(plan({ maxBytes: 2 * MIB - 1 }), {
    slots: 1,
    contextTokens: 8128,
    cacheBytes: 127 * 16 * KIB,
    prefixCacheBytes: 0,
  })
})

test('then one slot has as much of the context as fits', () => {
  const one = { slots: 1, prefixCacheBytes: 0 }

  assert.deepEqual(plan({ maxBytes: MIB - 1 }), { ...one, contextTokens: 4032, cacheBytes: 63 * 16 * KIB })
  assert.deepEqual(plan({ maxBytes: 16 * KIB }), { ...one, contextTokens: 64, cacheBytes: 16 * KIB })
})

test('a model whose context is short gives up slots only', () => {
  const short = { contextTokens: 100, prefixCacheBytes: 0 }

  // A row of 100 positions takes the place of 128.
  assert.deepEqual(plan({ contextTokens: 100, maxBytes: 256 * KIB }), { ...short, slots: 8, cacheBytes: 256 * KIB })
  assert.deepEqual(plan({ contextTokens: 100, maxBytes: 255 * KIB }), { ...short, slots: 7, cacheBytes: 224 * KIB })
  assert.deepEqual(plan({ contextTokens: 100, maxBytes: 31 * KIB }), {
    ...short,
    slots: 1,
    contextTokens: 64,
    cacheBytes: 16 * KIB,
  })
})

test('a bound below the shortest row is an error with both numbers', () => {
  assert.throws(() => plan({ maxBytes: 16 * KIB - 1 }), {
    message: 'a row of 64 tokens takes 16384 bytes of keys and values; the bound is 16383',
  })
})

test('the prefix cache has what the rows leave, but at least an eighth, and no more than it was asked to', () => {
  const prefixBytes = (request: Partial<KvRequest>): number => plan(request).prefixCacheBytes

  assert.equal(prefixBytes({ maxBytes: 64 * MIB, prefixCacheBytes: 20 * MIB }), 20 * MIB)
  assert.equal(prefixBytes({ maxBytes: 32 * MIB, prefixCacheBytes: 20 * MIB }), 16 * MIB)
  assert.equal(prefixBytes({ maxBytes: 16 * MIB, prefixCacheBytes: 20 * MIB }), 2 * MIB)
  assert.equal(prefixBytes({ maxBytes: 16 * MIB, prefixCacheBytes: MIB }), MIB)
  assert.equal(prefixBytes({ maxBytes: 16 * KIB, prefixCacheBytes: MIB }), 0)
})

test('whatever is asked for, the bound is never exceeded and nobody gets more than that', () => {
  const request = fc.record({
    shape: fc.record({
      tensors: fc.integer({ min: 2, max: 80 }),
      heads: fc.integer({ min: 1, max: 32 }),
      headSize: fc.integer({ min: 1, max: 256 }),
    }),
    contextTokens: fc.integer({ min: 2, max: 200_000 }),
    slots: fc.integer({ min: 1, max: 256 }),
    maxBytes: fc.oneof(fc.integer({ min: 0, max: 64 * MIB }), fc.maxSafeNat()),
    prefixCacheBytes: fc.nat(),
  })

  fc.assert(
    fc.property(request, (request) => {
      const { shape, maxBytes } = request
      const tokenBytes = shape.tensors * shape.heads * shape.headSize * 4
      if (maxBytes < 64 * tokenBytes) {
        assert.throws(() => planKv(request), /the bound is/)
        return
      }
      const { slots, contextTokens, cacheBytes, prefixCacheBytes } = planKv(request)

      assert.ok(slots >= 1 && slots <= request.slots)
      assert.ok(contextTokens >= Math.min(64, request.contextTokens) && contextTokens <= request.contextTokens)
      assert.equal(cacheBytes, slots * Math.ceil(contextTokens / 64) * 64 * tokenBytes)
      assert.ok(prefixCacheBytes >= 0 && prefixCacheBytes <= request.prefixCacheBytes)
      assert.ok(cacheBytes + prefixCacheBytes <= maxBytes)
    }),
    { numRuns: 1000 },
  )
})

test('a cache takes the bytes that were planned', () => {
  const { slots, contextTokens, cacheBytes } = plan({ contextTokens: 300, maxBytes: 200 * KIB })
  const { buffers } = new KvCache({ shape: SHAPE, slots, contextTokens, granularity: 64 })

  assert.equal(
    buffers.reduce((sum, { byteLength }) => sum + byteLength, 0),
    cacheBytes,
  )
})
