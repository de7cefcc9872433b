import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { BLOCK_TOKENS, PrefixCache } from '../../src/model/prefix-cache.js'

const TOKEN_FLOATS = 2
const BLOCK_BYTES = 16 * TOKEN_FLOATS * 4

const newCache = (blocks: number): PrefixCache => new PrefixCache(TOKEN_FLOATS, blocks * BLOCK_BYTES)

/** 16 ids for each letter, and another id for each that is small. */
const ids = (letters: string): number[] =>
  [...letters].flatMap((letter) => {
    const code = letter.charCodeAt(0)
    return letter >= 'a' ? [code] : Array.from({ length: 16 }, (_, i) => code * 100 + i)
  })

/** Keeps a sequence; the data of a block says which sequence it was read from, and where. */
const insert = (cache: PrefixCache, sequence: number[], name = 0, length = sequence.length): number[] => {
  const read: number[] = []
  cache.insert(sequence, length, (from, block) => {
    read.push(from)
    block.fill(name + from)
  })
  return read
}

const match = (cache: PrefixCache, sequence: number[], maxTokens = sequence.length): number[] =>
  cache.match(sequence, maxTokens).map((block) => block[0] as number)

const has = (cache: PrefixCache, letters: string): boolean =>
  cache.matchedTokens(ids(letters), 1000) === letters.length * 16

test('the longest known beginning is found in blocks of 16, in order', () => {
  const cache = newCache(10)
  const sequence = ids('ABCabcdefgh')

  const read = insert(cache, sequence, 5000)

  assert.equal(BLOCK_TOKENS, 16)
  assert.deepEqual(read, [0, 16, 32])
  assert.deepEqual(match(cache, sequence), [5000, 5016, 5032])
  assert.deepEqual(match(cache, ids('ABD')), [5000, 5016])
  assert.deepEqual(match(cache, ids('D')), [])
  assert.equal(cache.matchedTokens(ids('ABCD'), 64), 48)
  assert.equal(cache.bytes, 3 * BLOCK_BYTES)
})

test('a block holds all floats of its 16 positions', () => {
  const cache = newCache(1)
  cache.insert(ids('A'), 16, (_, block) => {
    for (let i = 0; i < block.length; i++) block[i] = i
  })

  const [block] = cache.match(ids('A'), 16)

  assert.deepEqual(
    block,
    Float32Array.from({ length: 32 }, (_, i) => i),
  )
})

test('a match is of exact ids, after exactly the same ids', () => {
  const cache = newCache(10)
  const zeros = Array<number>(14).fill(0)
  insert(cache, ids('AB'))
  insert(cache, [12, 3, ...zeros])

  assert.deepEqual(match(cache, [...ids('A').slice(0, 15), 1]), [])
  assert.deepEqual(match(cache, [1, 23, ...zeros]), [])
  assert.deepEqual(match(cache, ids('B')), [])
  assert.deepEqual(match(cache, ids('BA')), [])
  assert.deepEqual(match(cache, ids('AAB')), [0])
})

test('a common beginning is stored once, and not read again', () => {
  const cache = newCache(10)

  insert(cache, ids('ABC'), 1000)
  const read = insert(cache, ids('ABDE'), 2000)

  assert.deepEqual(read, [32, 48])
  assert.equal(cache.bytes, 5 * BLOCK_BYTES)
  assert.deepEqual(match(cache, ids('ABC')), [1000, 1016, 1032])
  assert.deepEqual(match(cache, ids('ABDE')), [1000, 1016, 2032, 2048])
})

test('no more is found than was asked for, and no more is kept than is computed', () => {
  const cache = newCache(10)
  const sequence = ids('ABC')
  insert(cache, sequence, 0, 47)

  assert.deepEqual(match(cache, sequence), [0, 16])
  assert.deepEqual(match(cache, sequence, 32), [0, 16])
  assert.deepEqual(match(cache, sequence, 31), [0])
  assert.deepEqual(match(cache, sequence, 15), [])
  assert.equal(cache.matchedTokens(sequence, 31), 16)
  assert.equal(cache.matchedTokens(sequence, 0), 0)
})

test('the least recently used block goes first, be it used by a match or by a prompt that is kept', () => {
  const cache = newCache(3)
  for (const letter of 'ABC') insert(cache, ids(letter))
  match(cache, ids('A'))
  insert(cache, ids('B'))

  insert(cache, ids('D'))
  assert.deepEqual([...'ABCD'].filter((letter) => has(cache, letter)).join(''), 'ABD')
  insert(cache, ids('E'))
  assert.deepEqual([...'ABDE'].filter((letter) => has(cache, letter)).join(''), 'BDE')
})

test('to ask how much is known is not a use', () => {
  const cache = newCache(2)
  insert(cache, ids('A'))
  insert(cache, ids('B'))

  cache.matchedTokens(ids('A'), 16)
  insert(cache, ids('C'))

  assert.deepEqual([has(cache, 'A'), has(cache, 'B'), has(cache, 'C')], [false, true, true])
})

test('a block goes before the one it hangs on', () => {
  const cache = newCache(3)
  insert(cache, ids('ABC'), 1000)

  insert(cache, ids('D'), 2000)
  assert.deepEqual(match(cache, ids('ABC')), [1000, 1016])
  insert(cache, ids('E'), 3000)
  assert.deepEqual(match(cache, ids('ABC')), [1000, 1016])
  insert(cache, ids('FG'), 4000)
  assert.deepEqual(match(cache, ids('ABC')), [1000])
  assert.equal(cache.bytes, 3 * BLOCK_BYTES)
})

test('what hung on a block that went is not found behind its successor', () => {
  const cache = newCache(2)
  insert(cache, ids('AB'), 1000)
  insert(cache, ids('CD'), 2000)

  insert(cache, ids('A'), 3000)

  assert.deepEqual(match(cache, ids('AB')), [3000])
})

test('of a sequence longer than the cache the beginning is kept', () => {
  const cache = newCache(2)

  const read = insert(cache, ids('ABCD'), 1000)

  assert.deepEqual(read, [0, 16])
  assert.deepEqual(match(cache, ids('ABCD')), [1000, 1016])
  assert.deepEqual(insert(cache, ids('ABCD'), 2000), [])
  assert.equal(cache.bytes, 2 * BLOCK_BYTES)
})

test('a cache that has no room for a block never keeps anything', () => {
  for (const bytes of [0, BLOCK_BYTES - 1]) {
    const cache = new PrefixCache(TOKEN_FLOATS, bytes)

    assert.deepEqual(insert(cache, ids('AB')), [])
    assert.deepEqual(match(cache, ids('AB')), [])
    assert.equal(cache.bytes, 0)
  }
})

type Kept = { value: number; used: number }

/** Every known beginning by its letters. Of those that nothing hangs on, the one that was used longest ago goes. */
class NaivePrefixes {
  readonly kept = new Map<string, Kept>()
  readonly #max: number
  #time = 0

  constructor(max: number) {
    this.#max = max
  }

  match(letters: string): number[] {
    const values: number[] = []
    this.#time++
    for (let end = 1; end <= letters.length; end++) {
      const block = this.kept.get(letters.slice(0, end))
      if (!block) break
      block.used = this.#time
      values.push(block.value)
    }
    return values
  }

  insert(letters: string, name: number): void {
    this.match(letters)
    for (let end = 1; end <= Math.min(letters.length, this.#max); end++) {
      const beginning = letters.slice(0, end)
      if (this.kept.has(beginning)) continue
      if (this.kept.size === this.#max) this.#evict()
      this.kept.set(beginning, { value: name + (end - 1) * 16, used: this.#time })
    }
  }

  #evict(): void {
    const beginnings = [...this.kept.keys()]
    const free = beginnings.filter((one) => !beginnings.some((other) => other !== one && other.startsWith(one)))
    const used = (beginning: string): number => (this.kept.get(beginning) as Kept).used
    const [oldest] = free.sort((a, b) => used(a) - used(b))
    this.kept.delete(oldest as string)
  }
}

test('what is found is what a naive cache finds, and never takes more than its bound', () => {
  const letters = fc.string({ unit: fc.constantFrom('A', 'B', 'C'), maxLength: 6 })
  const operation = fc.record({ keep: fc.boolean(), letters, rest: fc.nat(15) })
  const property = fc.property(fc.nat(7), fc.array(operation, { maxLength: 60, size: 'max' }), (blocks, operations) => {
    const cache = new PrefixCache(TOKEN_FLOATS, blocks * BLOCK_BYTES + 100)
    const naive = new NaivePrefixes(blocks)

    for (const [i, { keep, letters, rest }] of operations.entries()) {
      const sequence = [...ids(letters), ...Array<number>(rest).fill(7)]
      if (keep) {
        insert(cache, sequence, i * 1000)
        naive.insert(letters, i * 1000)
      } else {
        assert.deepEqual(match(cache, sequence), naive.match(letters))
      }
      assert.equal(cache.bytes, naive.kept.size * BLOCK_BYTES)
      assert.ok(naive.kept.size <= blocks)
      for (const beginning of naive.kept.keys()) assert.ok(has(cache, beginning), beginning)
    }
  })

  fc.assert(property, { numRuns: 500 })
})
