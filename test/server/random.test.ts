import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Random, sharpText } from './random.js'

test('a seed gives the same choices every time', () => {
  const numbers = (seed: number): number[] => {
    const random = new Random(seed)
    return Array.from({ length: 5 }, () => random.between(0, 999))
  }

  // The values of the published mulberry32.
  assert.deepEqual(numbers(1), [627, 2, 527, 981, 968])
  assert.deepEqual(numbers(2), [734, 324, 285, 537, 875])
})

test('choices stay within their bounds and reach them', () => {
  const random = new Random(3)

  const seen = new Set(Array.from({ length: 1000 }, () => random.between(5, 8)))

  assert.deepEqual([...seen].sort(), [5, 6, 7, 8])
})

test('a sharp text has line ends of every kind and characters of two units', () => {
  const text = sharpText(new Random(4), 500)

  for (const part of ['\n\n', '\r\n', '\u2028', '"', '\\', '👩‍👩‍👧‍👦'])
    assert.ok(text.includes(part), JSON.stringify(part))
})
