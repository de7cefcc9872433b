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

test('every actor of a run has choices of its own, which its seed and name repeat', () => {
  const numbers = (seed: number, actor: string): string => {
    const random = Random.for(seed, actor)
    return Array.from({ length: 3 }, () => random.between(0, 999)).join(' ')
  }
  const actors = Array.from({ length: 1000 }, (_, i) => `task ${i}`)

  const seen = new Set([...actors.map((actor) => numbers(1, actor)), ...actors.map((actor) => numbers(2, actor))])

  assert.equal(numbers(1, 'task 7'), numbers(1, 'task 7'))
  assert.equal(seen.size, 2000)
})

test('neighbouring actors do not choose alike', () => {
  const first = Array.from({ length: 2000 }, (_, i) => Random.for(1, `task ${i}`).next())

  const [low, high] = [first.filter((value) => value < 0.1).length, first.filter((value) => value >= 0.9).length]

  // 200 of 2000 each, give or take four standard deviations.
  assert.ok(low > 145 && low < 255 && high > 145 && high < 255, `${low} and ${high}`)
})

test('a chance comes as often as it says', () => {
  const random = new Random(5)

  const count = Array.from({ length: 1000 }, () => random.chance(0.2)).filter(Boolean).length

  assert.ok(count > 150 && count < 250, `${count}`)
})
