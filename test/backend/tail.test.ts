import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Tail } from '../../src/backend/embedded/tail.js'

test('a file goes when no task needs it, and no older one is needed either', () => {
  const tail = new Tail(3)
  tail.enter('task_a', 4)
  tail.enter('task_b', 6)

  const before = tail.takeUnneeded(9)
  tail.leave('task_b')
  const blocked = tail.takeUnneeded(9)
  tail.leave('task_a')
  const after = tail.takeUnneeded(9)

  assert.deepEqual([before, blocked, after], [[3], [], [4, 5, 6, 7, 8]])
  assert.deepEqual(tail.takeUnneeded(9), [])
})

test('a task needs its oldest file, until what is in it is kept elsewhere', () => {
  const tail = new Tail(1)
  tail.enter('task_a', 1)
  tail.enter('task_a', 3)
  const before = [tail.takeUnneeded(5), tail.before(3)]

  tail.move('task_a', 4)
  tail.move('task_gone', 1)

  assert.deepEqual(before, [[], ['task_a']])
  assert.deepEqual([tail.takeUnneeded(5), tail.before(5), tail.before(4)], [[1, 2, 3], ['task_a'], []])
})
