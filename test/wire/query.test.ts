import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { RejoinError } from '../../src/core/errors.js'
import { parseInteger, parsePosition, parseSeconds } from '../../src/wire/query.js'
import { anyText } from './texts.js'

const UNREADABLE = ['', ' ', '-1', '+1', '1.0', '1e3', '0x1', '１', ' 1', '1 ', 'abc', 'NaN', '9007199254740992', '1_0']

test('a position is a whole number from 0, or absent', () => {
  assert.equal(parsePosition(null, 'after'), null)
  assert.equal(parsePosition(undefined, 'after'), null)
  assert.equal(parsePosition('0', 'after'), 0)
  assert.equal(parsePosition('007', 'after'), 7)
  assert.equal(parsePosition('9007199254740991', 'after'), 9007199254740991)
  for (const text of UNREADABLE) {
    assert.throws(
      () => parsePosition(text, 'Last-Event-ID'),
      { code: 'invalid_position', param: 'Last-Event-ID' },
      text,
    )
  }
})

test('a whole number is read only within its bounds', () => {
  assert.equal(parseInteger(null, 'limit', 1, 100), null)
  assert.equal(parseInteger('1', 'limit', 1, 100), 1)
  assert.equal(parseInteger('100', 'limit', 1, 100), 100)
  for (const text of [...UNREADABLE, '0', '101']) {
    assert.throws(() => parseInteger(text, 'limit', 1, 100), { code: 'invalid_request', param: 'limit' }, text)
  }
})

test('seconds may have a fraction and become milliseconds', () => {
  assert.equal(parseSeconds(null, 'wait', 60), null)
  assert.equal(parseSeconds('0', 'wait', 60), 0)
  assert.equal(parseSeconds('0.25', 'wait', 60), 250)
  assert.equal(parseSeconds('60', 'wait', 60), 60_000)
  for (const text of ['60.001', '61', '-1', '', '.5', '1.', '1e1', 'Infinity', 'NaN', '1,5']) {
    assert.throws(() => parseSeconds(text, 'wait', 60), { code: 'invalid_request', param: 'wait' }, text)
  }
})

test('any text is a number within the bounds or refused, never something else', () => {
  const digits = fc.array(fc.constantFrom(...'0123456789.-e+ '), { maxLength: 20 }).map((chars) => chars.join(''))
  const property = fc.property(fc.oneof(anyText(), digits), (text) => {
    for (const read of [
      () => parsePosition(text, 'p'),
      () => parseInteger(text, 'p', 3, 1000),
      () => parseSeconds(text, 'p', 60),
    ]) {
      try {
        const value = read()
        assert.ok(Number.isSafeInteger(value) && (value as number) >= 0)
      } catch (error) {
        assert.ok(error instanceof RejoinError && error.param === 'p', `threw ${error}`)
      }
    }
  })

  fc.assert(property, { numRuns: 1000 })
})
