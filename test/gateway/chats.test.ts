import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Chats } from '../../src/gateway/chats.js'
import { TaskRecord } from '../../src/gateway/record.js'
import { TaskLog } from '../../src/log/task-log.js'
import { aTask } from '../task.js'

const record = (owner: string, chat: string | null): TaskRecord => {
  const task = aTask({ owner })
  if (chat !== null) task.spec.origin = { type: 'chat', chat }
  return new TaskRecord(task, new TaskLog(task.id, 16))
}

test('a chat’s newest task is known by its owner and name, and a task without a chat is not', () => {
  const chats = new Chats()
  const [old, newest, others, none] = [record('me', 'a'), record('me', 'a'), record('you', 'a'), record('me', null)]

  for (const each of [old, newest, others, none]) chats.add(each)

  assert.deepEqual(
    [chats.find('me', 'a', 0), chats.find('you', 'a', 0), chats.find('me', 'b', 0)],
    [newest.task.id, others.task.id, null],
  )
})

test('a task whose end was read is known for a minute more, and one that was replaced is not missed', () => {
  const chats = new Chats()
  const [old, newest] = [record('me', 'a'), record('me', 'a')]
  chats.add(old)
  chats.add(newest)

  chats.read(old, 0)
  const unread = chats.find('me', 'a', 1_000_000)
  chats.read(newest, 1_000_000)
  chats.read(newest, 1_050_000)

  assert.equal(unread, newest.task.id)
  assert.equal(chats.find('me', 'a', 1_059_999), newest.task.id)
  assert.equal(chats.find('me', 'a', 1_060_000), null)
})
