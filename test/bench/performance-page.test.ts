import assert from 'node:assert/strict'
import { test } from 'node:test'
import { placed } from '../../bench/performance-page.js'

const PAGE = 'Before\n\n<!-- bench a -->\nold\n<!-- end -->\n\nText\n\n<!-- bench b -->\nold\n<!-- end -->\nAfter\n'

test('what a benchmark prints takes the place of what it printed the last time, and of nothing else', () => {
  const page = placed(PAGE, 'b', '\n| x |\n| - |\n', 'a machine')

  assert.equal(page, PAGE.replace('<!-- bench b -->\nold\n', '<!-- bench b -->\na machine\n\n| x |\n| - |\n'))
  assert.equal(placed(page, 'b', '| x |\n| - |', 'a machine'), page)
})

test('text that is no table is set as it was printed', () => {
  assert.ok(placed(PAGE, 'a', 'some  text\n', 'm').includes('m\n\n```\nsome  text\n```\n<!-- end -->'))
})

test('a benchmark that has no place on the page is told of', () => {
  assert.throws(() => placed(PAGE, 'c', 'x', 'm'), /no place for c/)
})
