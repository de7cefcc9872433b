import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { TaskObject } from '../../bench/chaos/ledger.js'
import { Roster } from '../../bench/chaos/roster.js'
import type { Kind } from '../../bench/chaos/violations.js'

const object = (id: string, tag: string, more: Partial<TaskObject> = {}): TaskObject => ({
  id,
  status: 'completed',
  created_at: 1000,
  last_seq: 5,
  output: { text: `text of ${id}` },
  finish_reason: 'stop',
  usage: { completion_tokens: 2 },
  error: null,
  metadata: { chaos: tag },
  ...more,
})

const A = object('a', '0', { created_at: 9000 })
const B = object('b', '1.2', { created_at: 5000 })

/** What is found in a list, after `a` and `b` were accepted and have ended. */
function found(listed: TaskObject[]): Kind[] {
  const roster = new Roster()
  const kinds: Kind[] = []
  roster.accepted('a', 0, '0')
  roster.accepted('b', 1, '1.2')
  roster.unanswered('1.1')
  roster.ended(A)
  roster.ended(B)
  roster.check(listed, ({ kind }) => kinds.push(kind))
  return kinds
}

test('a list of what was accepted is no violation', () => {
  assert.deepEqual(found([A, B]), [])
})

test('a submit without a key whose answer was lost may have made a task, or none', () => {
  assert.deepEqual(found([A, B, object('c', '1.1')]), [])
  assert.deepEqual(found([A, B, object('c', '1.1'), object('d', '1.1')]), ['repeated'])
})

test('a task that was accepted and is not in the list is found', () => {
  assert.deepEqual(found([A]), ['lost'])
})

test('a second task of one submit is found, whoever was told of it', () => {
  assert.deepEqual(found([A, B, object('c', '0')]), ['repeated'])
  assert.deepEqual(found([object('c', '0', { created_at: 9000 }), A, B]), ['repeated', 'repeated'])
})

test('a task of nobody is found', () => {
  assert.deepEqual(found([A, B, object('c', '7')]), ['repeated'])
  assert.deepEqual(found([A, B, object('c', '', { metadata: {} })]), ['repeated'])
})

test('a task that is listed twice is found', () => {
  assert.deepEqual(found([A, B, B]), ['repeated'])
})

test('a task that has changed since its end is found', () => {
  assert.deepEqual(found([A, { ...B, last_seq: 6 }]), ['backwards'])
  assert.deepEqual(found([A, { ...B, status: 'canceled' }]), ['backwards'])
  assert.deepEqual(found([A, { ...B, output: { text: 'other' } }]), ['text'])
  assert.deepEqual(found([A, { ...B, metadata: { chaos: '5' } }]), ['key'])
})

test('a task that has not ended is found', () => {
  assert.deepEqual(found([A, B, object('c', '1.1', { status: 'running' })]), ['unended'])
})

test('a list that is not newest first is found', () => {
  assert.deepEqual(found([B, A]), ['form'])
})
