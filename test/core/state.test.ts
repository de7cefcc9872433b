import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { EventBody, TaskEvent } from '../../src/core/event.js'
import { TaskState } from '../../src/core/state.js'
import { aTask } from '../task.js'

/** The state after these events, said at 101, 102, 103 … */
const stateAfter = (...bodies: EventBody[]): TaskState => {
  const state = new TaskState(aTask())
  for (const [i, body] of bodies.entries()) {
    state.apply({ task: state.task.id, seq: i + 1, at: 101 + i, ...body } as TaskEvent)
  }
  return state
}

const queued: EventBody = { type: 'queued', position: 0 }
const started: EventBody = { type: 'started', attempt: 1, model: 'm' }
const token: EventBody = { type: 'token', text: 'x', tokens: 2 }

test('a task is queued until it starts, and runs until it ends', () => {
  assert.equal(stateAfter().status, 'queued')
  assert.equal(stateAfter(queued).status, 'queued')
  assert.equal(stateAfter(queued, started).status, 'running')
  assert.equal(stateAfter(queued, started, token).ended, false)
})

test('a completed task knows how it ended and what it cost', () => {
  const usage = { prompt_tokens: 3, cached_tokens: 0, completion_tokens: 4 }
  const timings = { queued_ms: 0, first_token_ms: 1, total_ms: 2 }

  const state = stateAfter(queued, started, token, token, { type: 'completed', finish_reason: 'stop', usage, timings })

  assert.equal(state.status, 'completed')
  assert.equal(state.ended, true)
  assert.equal(state.finishReason, 'stop')
  assert.deepEqual(state.usage, usage)
  assert.deepEqual([state.startedAt, state.finishedAt], [102, 105])
  assert.deepEqual([state.percent, state.lastSeq], [100, 5])
})

test('a task that is tried again keeps its first start and counts its attempts', () => {
  const retrying: EventBody = { type: 'retrying', attempt: 2, reason: 'lost' }

  const state = stateAfter(queued, started, token, retrying, { type: 'started', attempt: 2, model: 'm' }, token)

  assert.deepEqual([state.status, state.attempt, state.startedAt], ['running', 2, 102])
})

test('a failed task has its error, a canceled one has none', () => {
  const failed = stateAfter(queued, started, { type: 'failed', error: { code: 'worker_lost', message: 'm' } })
  const canceled = stateAfter(queued, { type: 'canceled', by: 'deadline' })

  assert.deepEqual([failed.status, failed.error], ['failed', { code: 'worker_lost', message: 'm' }])
  assert.deepEqual([canceled.status, canceled.error, canceled.finishedAt], ['canceled', null, 102])
})
