import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isTaskId, newTaskId } from '../../src/core/id.js'

test('a task id is `task_` and 21 URL-safe characters, never the same twice', () => {
  const ids = Array.from({ length: 1000 }, newTaskId)

  for (const id of ids) assert.match(id, /^task_[A-Za-z0-9_-]{21}$/)
  assert.ok(ids.every(isTaskId))
  assert.equal(new Set(ids).size, 1000)
})

test('a text of another form is no task id', () => {
  const good = newTaskId()

  for (const text of ['', 'task_', good.slice(1), `${good}x`, good.slice(0, -1), `${good}\n`, good.replace('_', '-')]) {
    assert.equal(isTaskId(text), false, JSON.stringify(text))
  }
})
