import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { bytesPerToken, KvCache, kvBytes, type Span } from '../../src/model/kv-cache.js'

const SHAPE = { tensors: 2, heads: 2, headSize: 3 }
const { tensors: TENSORS, heads: HEADS, headSize: HEAD_SIZE } = SHAPE

/** The number in one place of a position; every position that is ever added has a name of its own. */
const numberAt = (position: number, tensor: number, head: number, i: number): number =>
  position * 16 + (tensor * HEADS + head) * HEAD_SIZE + i

/** [rows, tensors x heads, count, headSize] */
const step = (rows: readonly (readonly number[])[]): Float32Array => {
  const values: number[] = []
  for (const positions of rows) {
    for (let tensor = 0; tensor < TENSORS; tensor++) {
      for (let head = 0; head < HEADS; head++) {
        for (const position of positions) {
          for (let i = 0; i < HEAD_SIZE; i++) values.push(numberAt(position, tensor, head, i))
        }
      }
    }
  }
  return Float32Array.from(values)
}

/** The position at a place of a tensor that is laid out as [rows, heads, bucket, headSize], or null for a mixture. */
const positionAt = (cache: KvCache, { offset, bucket }: Span, row: number, at: number): number | null => {
  const position = Math.floor((cache.buffers[0]?.[offset + (row * HEADS * bucket + at) * HEAD_SIZE] as number) / 16)
  for (let tensor = 0; tensor < TENSORS; tensor++) {
    for (let head = 0; head < HEADS; head++) {
      const place = offset + ((row * HEADS + head) * bucket + at) * HEAD_SIZE
      for (let i = 0; i < HEAD_SIZE; i++) {
        if (cache.buffers[tensor]?.[place + i] !== numberAt(position, tensor, head, i)) return null
      }
    }
  }
  return position
}

/** What a graph sees that is fed this span: the positions of each row. */
const content = (cache: KvCache, span: Span): (number | null)[][] =>
  Array.from({ length: span.rows }, (_, row) =>
    Array.from({ length: span.lengths[row] as number }, (_, at) => positionAt(cache, span, row, at)),
  )

const newCache = (slots: number, contextTokens: number, granularity: number): KvCache =>
  new KvCache({ shape: SHAPE, slots, contextTokens, granularity })

const numbers = (from: number, count: number): number[] => Array.from({ length: count }, (_, i) => from + i)

const append = (cache: KvCache, span: Span, ...rows: number[][]): void =>
  cache.append(span, step(rows), rows[0]?.length ?? 0)

/** A new row that has these positions. */
const addRow = (cache: KvCache, positions: number[]): number => {
  const index = cache.add(0)
  append(cache, cache.row(index), positions)
  return index
}

type Operation = { type: string; row: number; count: number; from: number }

/** The same operations on lists of positions. */
class NaiveRun {
  readonly cache: KvCache
  readonly #slots: number
  readonly #capacity: number
  readonly #granularity: number
  rows: number[][] = []
  tail: number[] | null = null
  #next = 1

  constructor(slots: number, contextTokens: number, granularity: number) {
    this.cache = newCache(slots, contextTokens, granularity)
    this.#slots = slots
    this.#granularity = granularity
    this.#capacity = Math.ceil(contextTokens / granularity) * granularity
  }

  do({ type, row, count, from }: Operation): void {
    const { cache, rows } = this
    const index = rows.length > 0 ? row % rows.length : null
    const full = rows.length + (this.tail ? 1 : 0) === this.#slots
    const room = Math.min(count, this.#capacity)
    if (type === 'add') {
      if (full) assert.throws(() => cache.add(room), { message: `all ${this.#slots} rows are in use` })
      else {
        assert.equal(cache.add(room), rows.push([]) - 1)
        assert.ok(cache.front.bucket >= room)
      }
    } else if (type === 'openTail') {
      if (this.tail || full) assert.throws(() => cache.openTail(room), /the place of the last slot is in use/)
      else {
        cache.openTail(room)
        assert.ok((cache.tail as Span).bucket >= room)
        this.tail = []
      }
    } else if (type === 'joinTail') {
      if (!this.tail) assert.throws(() => cache.joinTail(), /there is no tail/)
      else {
        assert.equal(cache.joinTail(), rows.push(this.tail) - 1)
        this.tail = null
      }
    } else if (type === 'closeTail') {
      cache.closeTail()
      this.tail = null
    } else if (type === 'remove' && index !== null) {
      cache.remove(index)
      const last = rows.pop() as number[]
      if (index < rows.length) rows[index] = last
    } else if (type === 'append' && index !== null) {
      this.#grow([rows[index] as number[]], count, (added) => append(cache, cache.row(index), ...added))
    } else if (type === 'appendFront' && index !== null) {
      this.#grow(rows, count, (added) => append(cache, cache.front, ...added))
    } else if (type === 'appendTail' && this.tail) {
      this.#grow([this.tail], count, (added) => append(cache, cache.tail as Span, ...added))
    } else if (type === 'write') {
      const [target, span] = this.#oneRow(index)
      if (target && span) this.#grow([target], count, (added) => cache.write(span, count, step(added)))
    } else if (type === 'read') {
      const [target, span] = this.#oneRow(index)
      if (target && span) this.#read(target, span, from % (target.length + 1), count)
    }
  }

  check(): void {
    const { cache, rows, tail } = this
    const { front } = cache
    assert.deepEqual(content(cache, front), rows)
    assert.deepEqual(cache.tail && content(cache, cache.tail), tail && [tail])
    assert.deepEqual([front.offset, front.rows, front.lengths.length], [0, rows.length, rows.length])
    for (const [index, positions] of rows.entries()) {
      const row = cache.row(index)
      assert.deepEqual([row.rows, row.bucket, row.offset], [1, front.bucket, index * HEADS * front.bucket * HEAD_SIZE])
      this.#read(positions, row, 0, positions.length)
    }
    for (const { bucket, lengths } of cache.tail ? [front, cache.tail] : [front]) {
      assert.equal(bucket % this.#granularity, 0)
      assert.ok(bucket >= Math.max(0, ...lengths) && bucket <= this.#capacity)
    }
  }

  /** Adds new positions, which must be refused as a whole where one row has no room for them. */
  #grow(targets: number[][], count: number, add: (rows: number[][]) => void): void {
    const added = targets.map(() => {
      this.#next += count
      return numbers(this.#next - count, count)
    })
    const longest = Math.max(...targets.map((target) => target.length)) + count
    if (longest > this.#capacity) {
      const message = `a row has room for ${this.#capacity} positions, not for ${longest}`
      assert.throws(() => add(added), { message })
      return
    }
    add(added)
    for (const [i, target] of targets.entries()) target.push(...(added[i] as number[]))
  }

  #read(target: number[], span: Span, from: number, most: number): void {
    const wanted = target.slice(from, from + most)
    const block = new Float32Array(TENSORS * HEADS * wanted.length * HEAD_SIZE)
    this.cache.read(span, from, wanted.length, block)
    assert.deepEqual(block, step([wanted]))
  }

  /** The tail, where there is one and the row asked for is none of the front. */
  #oneRow(index: number | null): [number[], Span] | [] {
    if (index !== null) return [this.rows[index] as number[], this.cache.row(index)]
    return this.tail && this.cache.tail ? [this.tail, this.cache.tail] : []
  }
}

const OPERATIONS = [
  ...['add', 'add', 'append', 'append', 'appendFront', 'appendFront', 'appendTail', 'appendTail'],
  ...['openTail', 'joinTail', 'closeTail', 'write', 'write', 'read', 'remove'],
]

for (const [granularity, contextTokens] of [
  [1, 9],
  [4, 18],
  [64, 150],
] as const) {
  test(`every row keeps what it was given, whatever is done to others, in steps of ${granularity}`, () => {
    const operation = fc.record({
      type: fc.constantFrom(...OPERATIONS),
      row: fc.nat(4),
      count: fc.oneof(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: Math.ceil(contextTokens * 0.7) })),
      from: fc.nat(contextTokens),
    })
    const property = fc.property(
      fc.integer({ min: 1, max: 4 }),
      fc.array(operation, { maxLength: 60, size: 'max' }),
      (slots, operations) => {
        const run = new NaiveRun(slots, contextTokens, granularity)
        for (const operation of operations) {
          run.do(operation)
          run.check()
        }
      },
    )

    fc.assert(property, { numRuns: granularity === 64 ? 100 : 400 })
  })
}

test('a tail joins although the front has all other slots and is as wide as can be', () => {
  const cache = newCache(3, 8, 4)
  addRow(cache, [1, 2, 3, 4, 5, 6, 7, 8])
  addRow(cache, [11, 12, 13, 14, 15, 16, 17, 18])
  cache.openTail(0)
  append(cache, cache.tail as Span, [21, 22, 23])
  append(cache, cache.tail as Span, [24, 25])

  assert.throws(() => cache.add(0), /all 3 rows are in use/)
  assert.equal(cache.joinTail(), 2)

  assert.equal(cache.tail, null)
  assert.equal(cache.front.bucket, 8)
  assert.deepEqual(content(cache, cache.front), [
    [1, 2, 3, 4, 5, 6, 7, 8],
    [11, 12, 13, 14, 15, 16, 17, 18],
    [21, 22, 23, 24, 25],
  ])
})

test('a tail that is longer than all others widens them when it joins', () => {
  const cache = newCache(3, 12, 4)
  addRow(cache, [1])
  addRow(cache, [11, 12])
  cache.openTail(9)
  append(cache, cache.tail as Span, [21, 22, 23, 24, 25, 26, 27, 28, 29])

  cache.joinTail()

  assert.equal(cache.front.bucket, 12)
  assert.deepEqual(content(cache, cache.front), [[1], [11, 12], [21, 22, 23, 24, 25, 26, 27, 28, 29]])
})

test('a tail that is closed leaves its slot to a row', () => {
  const cache = newCache(1, 8, 4)
  cache.openTail(8)
  append(cache, cache.tail as Span, [1, 2, 3])
  assert.throws(() => cache.openTail(0), /the place of the last slot is in use/)

  cache.closeTail()
  addRow(cache, [4, 5])

  assert.equal(cache.tail, null)
  assert.deepEqual(content(cache, cache.front), [[4, 5]])
  assert.throws(() => cache.openTail(0), /the place of the last slot is in use/)
})

test('at granularity 1 a lone row is never padded, whatever rows were there before it', () => {
  const cache = newCache(1, 8, 1)

  for (const life of [[1, 2, 3, 4, 5], [6], [7, 8, 9]]) {
    const index = cache.add(0)
    assert.equal(cache.front.bucket, 0)
    for (const [i, position] of life.entries()) {
      append(cache, cache.row(index), [position])
      assert.equal(cache.front.bucket, i + 1)
    }
    assert.deepEqual(content(cache, cache.front), [life])
    cache.remove(index)
  }

  cache.openTail(0)
  assert.equal(cache.tail?.bucket, 0)
  append(cache, cache.tail as Span, [10, 11])
  cache.joinTail()
  assert.equal(cache.front.bucket, 2)
})

test('rows that are both empty can be filled in any order', () => {
  const cache = newCache(2, 8, 4)
  cache.add(0)
  cache.add(0)

  append(cache, cache.row(1), [11, 12, 13])
  append(cache, cache.row(0), [1])

  assert.deepEqual(content(cache, cache.front), [[1], [11, 12, 13]])
})

test('the bucket shrinks when the longest row leaves, less a spare step', () => {
  const cache = newCache(3, 40, 4)
  addRow(cache, numbers(1, 30))
  addRow(cache, [101, 102, 103])
  addRow(cache, [201])
  assert.equal(cache.front.bucket, 32)

  cache.remove(0)

  // 3 positions and a step of 4 are 7, and the next multiple is 8.
  assert.equal(cache.front.bucket, 8)
  assert.deepEqual(content(cache, cache.front), [[201], [101, 102, 103]])
})

test('a row is refused more than it has room for, and keeps what it has', () => {
  const cache = newCache(2, 8, 4)
  addRow(cache, [1, 2, 3, 4, 5, 6])
  addRow(cache, [11])

  const message = 'a row has room for 8 positions, not for 9'
  assert.throws(() => append(cache, cache.row(0), [7, 8, 9]), { message })
  assert.throws(() => append(cache, cache.front, [7, 8, 9], [12, 13, 14]), { message })
  assert.throws(() => cache.write(cache.row(0), 3, step([[7, 8, 9]])), { message })
  cache.remove(1)
  assert.throws(() => cache.add(9), { message })
  assert.throws(() => cache.openTail(9), { message })

  assert.equal(cache.tail, null)
  assert.deepEqual(content(cache, cache.front), [[1, 2, 3, 4, 5, 6]])
})

test('memory is that of all rows at the context, rounded up to the granularity', () => {
  const options = { shape: SHAPE, slots: 3, contextTokens: 100, granularity: 64 }
  const { buffers } = new KvCache(options)

  // 2 tensors of 2 heads of 3 floats.
  assert.equal(bytesPerToken(SHAPE), 48)
  assert.equal(kvBytes(options), 3 * 128 * 48)
  assert.equal(
    buffers.reduce((sum, { byteLength }) => sum + byteLength, 0),
    3 * 128 * 48,
  )
})
