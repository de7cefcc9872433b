import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Entry } from '../../src/core/entry.js'
import { ERRORS, type ErrorCode, RejoinError } from '../../src/core/errors.js'
import { TaskState } from '../../src/core/state.js'
import { errorObject, eventsPage, taskObject } from '../../src/wire/json.js'
import { aTask } from '../task.js'

test('an error has the four fields that OpenAI clients parse', () => {
  const error = new RejoinError('unknown_field', '`x` is not a field', { param: 'x' })

  assert.deepEqual(errorObject(error), {
    error: { message: '`x` is not a field', type: 'invalid_request_error', code: 'unknown_field', param: 'x' },
  })
})

test('the type of an error follows its status', () => {
  const types: Record<number, string> = {
    400: 'invalid_request_error',
    404: 'not_found_error',
    405: 'invalid_request_error',
    409: 'invalid_request_error',
    410: 'invalid_request_error',
    413: 'invalid_request_error',
    426: 'invalid_request_error',
    429: 'rate_limit_error',
    500: 'server_error',
    503: 'server_error',
  }

  for (const code of Object.keys(ERRORS) as ErrorCode[]) {
    const { error } = errorObject(new RejoinError(code, ''))
    assert.deepEqual([error.type, error.param], [types[ERRORS[code].status], null], code)
  }
})

test('a task object has every field of the protocol, before it runs', () => {
  const task = aTask({ id: 'task_x', model: 'm', createdAt: 5, metadata: { a: 'b' } })

  const object = taskObject(new TaskState(task), { text: '', queuePosition: 3, estimatedWaitMs: null, expiresAt: null })

  assert.deepEqual(object, {
    id: 'task_x',
    object: 'task',
    status: 'queued',
    model: 'm',
    created_at: 5,
    started_at: null,
    finished_at: null,
    expires_at: null,
    attempt: 0,
    queue_position: 3,
    estimated_wait_ms: null,
    progress: 0,
    last_seq: 0,
    output: { text: '' },
    finish_reason: null,
    usage: null,
    error: null,
    metadata: { a: 'b' },
    links: { self: '/v1/tasks/task_x', events: '/v1/tasks/task_x/events', websocket: '/v1/ws' },
  })
})

test('a page is one JSON object with the events as they are', () => {
  const entries = [
    new Entry({ task: 'task_x', seq: 1, at: 5, type: 'queued', position: 0 }),
    new Entry({ task: 'task_x', seq: 2, at: 6, type: 'token', text: '"\n', tokens: 1 }),
  ]

  const page = JSON.parse(eventsPage('task_x', entries, 2, false))

  assert.deepEqual(page, {
    task: 'task_x',
    events: [
      { task: 'task_x', seq: 1, at: 5, type: 'queued', position: 0 },
      { task: 'task_x', seq: 2, at: 6, type: 'token', text: '"\n', tokens: 1 },
    ],
    next: 2,
    done: false,
  })
})
