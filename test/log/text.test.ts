import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Text } from '../../src/log/text.js'
import { anyText } from '../wire/texts.js'

test('every stretch between two ends is the text that was appended there', () => {
  const property = fc.property(fc.array(fc.tuple(anyText(), fc.boolean()), { maxLength: 40 }), (appends) => {
    const text = new Text()

    const ends = [0]
    for (const [part, trim] of appends) {
      ends.push(text.append(part))
      if (trim) text.trim()
    }

    // What half a character becomes when it is written as UTF-8.
    const parts = appends.map(([part]) => Buffer.from(part).toString())
    for (let from = 0; from < ends.length; from++) {
      for (let to = from; to < ends.length; to += 7) {
        assert.equal(text.slice(ends[from] as number, ends[to] as number), parts.slice(from, to).join(''))
      }
    }
    assert.equal(text.end, ends.at(-1))
  })

  fc.assert(property)
})

test('half a character becomes U+FFFD', () => {
  const text = new Text()

  text.append('a\ud83db')

  assert.equal(text.slice(0, text.end), 'a\ufffdb')
})

test('a trimmed text holds its bytes and no more', () => {
  const text = new Text()
  for (let i = 0; i < 1000; i++) text.append('é')

  text.trim()

  assert.deepEqual([text.end, text.capacity], [2000, 2000])
})

test('memory grows with the text, not with the number of appends', () => {
  const text = new Text()

  for (let i = 0; i < 100_000; i++) text.append('x')

  assert.ok(text.capacity >= 100_000 && text.capacity <= 200_000 + 3)
})
