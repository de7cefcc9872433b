import assert from 'node:assert/strict'
import { cp, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import type { TaskEvent } from '../../src/core/event.js'
import type { TaskSpec } from '../../src/core/task.js'
import type { TaskRecord } from '../../src/gateway/record.js'
import { MODEL_DIR, onnxSource } from '../model/answer.js'
import { aSpec } from '../task.js'
import { until } from '../until.js'
import {
  ENDLESS,
  firstOf,
  GatedBackend,
  isToken,
  openGateway,
  outline,
  script,
  submit,
  textOf,
  whole,
  words,
} from './harness.js'

test('an answer whose worker died goes on, with the text of an undisturbed run', async (t) => {
  const gateway = await openGateway(t)

  const events = await whole(gateway, await submit(gateway, script({ tokens: 20, crash_at: [4, 11] })))

  assert.equal(textOf(events), words(20))
  assert.equal(outline(events), 'queued, started 1, retrying 2, started 2, retrying 3, started 3, completed')
  assert.deepEqual(
    events.map(({ seq }) => seq),
    events.map((_, index) => index + 1),
  )
  const end = events.at(-1)
  assert.deepEqual(end?.type === 'completed' && [end.finish_reason, end.usage], [
    'stop',
    { prompt_tokens: 1, cached_tokens: 0, completion_tokens: 20 },
  ])
})

test('wherever the worker dies, `max_tokens`, stop strings and progress are those of an undisturbed run', async (t) => {
  const gateway = await openGateway(t, { slots: 200 })
  const text = 'one two STOP three four'
  const outcome = async (more: Partial<TaskSpec>): Promise<unknown> => {
    const events = await whole(gateway, await submit(gateway, script({ tokens: 10, rate: 100, text }, more)))
    const end = events.at(-1)
    const progress = events.flatMap((event) => (event.type === 'progress' ? [event.percent] : []))
    const tokens = events.reduce((sum, event) => sum + (event.type === 'token' ? event.tokens : 0), 0)
    return [textOf(events), progress, tokens, end?.type === 'completed' && [end.finish_reason, end.usage]]
  }
  const requests: Partial<TaskSpec>[] = [{ stop: ['STOP'] }, { maxTokens: 7 }, {}]
  const undisturbed = await Promise.all(requests.map(outcome))
  const texts = undisturbed.map((outcome) => (outcome as string[])[0])
  assert.deepEqual(texts, ['one two ', 'one two STOP thr', text])

  // The same rate as the others, so that the thread dies after each of their tokens.
  const disturbed = requests.map(outcome)
  const killer = await submit(gateway, script({ tokens: 12, rate: 100, crash_at: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9] }))

  assert.deepEqual(await Promise.all(disturbed), undisturbed)
  await whole(gateway, killer)
  assert.equal(killer.state.attempt, 11)
})

test('a task whose worker dies in every attempt fails with `worker_lost`, after as many as are allowed', async (t) => {
  const gateway = await openGateway(t, { maxAttempts: 2 })

  const record = await submit(gateway, script({ crash_at: 'always' }))
  const events = await whole(gateway, record)

  assert.equal(outline(events), 'queued, started 1, retrying 2, started 2, failed')
  assert.deepEqual(record.state.error, {
    code: 'worker_lost',
    message: 'no token in 2 attempts in a row, the bound; the worker of the last one died: worker exited with code: 1',
  })
})

test('attempts that bring a token are not counted: the answer gets on', async (t) => {
  const gateway = await openGateway(t, { maxAttempts: 1 })

  const events = await whole(gateway, await submit(gateway, script({ tokens: 6, crash_at: [0, 1, 2, 3, 4] })))

  assert.equal(textOf(events), words(6))
  assert.equal(
    outline(events)
      .split(', ')
      .filter((event) => event.startsWith('retrying')).length,
    5,
  )
})

test('a task that kills its worker does not take the gateway with it', async (t) => {
  const gateway = await openGateway(t, { maxAttempts: 1 })
  await whole(gateway, await submit(gateway, script({ crash_at: 'always' })))

  const events = await whole(gateway, await submit(gateway, script({ tokens: 3 })))

  assert.equal(textOf(events), words(3))
})

test('all tasks on a worker that died go on', async (t) => {
  const gateway = await openGateway(t, { slots: 300 })
  const records = await Promise.all(
    Array.from({ length: 200 }, () => submit(gateway, script({ tokens: 60, rate: 100 }))),
  )
  const reading = records.map((record) => whole(gateway, record))

  await submit(gateway, script({ tokens: 100, rate: 100, crash_at: 10 }))
  const all = await Promise.all(reading)

  for (const events of all) {
    assert.equal(textOf(events), words(60))
    assert.equal(outline(events), 'queued, started 1, retrying 2, started 2, completed')
  }
})

test('tasks that waited when the worker died are run by the next one', async (t) => {
  const gateway = await openGateway(t, { slots: 1 })
  const crashes = await submit(gateway, script({ tokens: 10, crash_at: 3 }))
  const waits = await submit(gateway, script({ tokens: 5 }))

  const [first, second] = await Promise.all([whole(gateway, crashes), whole(gateway, waits)])

  assert.equal(outline(first), 'queued, started 1, retrying 2, started 2, completed')
  assert.equal(outline(second), 'queued, started 1, completed')
  // The lost one goes before those that had not begun.
  assert.ok((crashes.state.finishedAt ?? 0) <= (waits.state.startedAt ?? 0))
})

test('a task that is canceled between two attempts does not begin the next', async (t) => {
  const gateway = await openGateway(t)
  const record = await submit(gateway, script({ tokens: 10, crash_at: 3 }))
  await firstOf(gateway, record, ({ type }) => type === 'retrying')

  const canceling = await gateway.cancel(record, 'client')
  const events = await whole(gateway, record)

  assert.equal(canceling, true)
  assert.equal(outline(events), 'queued, started 1, retrying 2, canceled')
})

test('a task that was canceled when its worker died is canceled and not tried again', async (t) => {
  const gateway = await openGateway(t)
  const record = await submit(gateway, script(ENDLESS))
  await firstOf(gateway, record, isToken)

  const terminated = gateway.dispatchers[0]?.engine.workers[0]?.terminate()
  await gateway.cancel(record, 'admin')
  await terminated
  const events = await whole(gateway, record)

  assert.equal(outline(events), 'queued, started 1, canceled')
})

test('a worker that dies while the gateway drains still gets its tasks to their end', async (t) => {
  const gateway = await openGateway(t)
  const record = await submit(gateway, script({ tokens: 50, rate: 200, crash_at: 20 }))
  await firstOf(gateway, record, isToken)

  await gateway.drain(20_000)

  assert.equal(record.state.status, 'completed')
  assert.equal(record.state.attempt, 2)
  assert.equal(record.log.text(), words(50))
})

test('a gateway whose worker is being replaced says that it is not ready', async (t) => {
  const gateway = await openGateway(t)
  const record = await submit(gateway, script({ tokens: 10, crash_at: 3 }))
  await firstOf(gateway, record, ({ type }) => type === 'retrying')
  const between = gateway.ready

  await whole(gateway, record)

  assert.deepEqual([between, gateway.ready], [false, true])
})

test('the embedded model goes on in another thread with the answer of an undisturbed run', async (t) => {
  const backend = new GatedBackend()
  const source = onnxSource()
  const gateway = await openGateway(t, { backend, models: [{ source, workers: 1 }], maxInFlight: 4 })
  const ask = (text: string): Promise<TaskRecord> => submit(gateway, aSpec({ text, maxTokens: 120 }))
  const prompts = ['Tell me a story about a fox who lost a kite.', 'Tell me a story about a dog and a red ball.']
  const undisturbed = await Promise.all(prompts.map(async (text) => whole(gateway, await ask(text))))

  // Words that are not recorded are not acknowledged: the thread, which has been told of every one before, says four and
  // waits. Ended while it computes, ONNX Runtime would take the whole process with it.
  backend.hold()
  const records = await Promise.all(prompts.map(ask))
  const reading = records.map((record) => whole(gateway, record))
  await until('a thread that waits', () => {
    const events = backend.heldEvents()
    const started = events.filter(({ type }) => type === 'started')
    return started.length === 2 && events.filter(isToken).length === 4
  })
  await gateway.dispatchers[0]?.engine.workers[0]?.terminate()
  backend.release()
  const disturbed = await Promise.all(reading)

  for (const events of disturbed) {
    assert.equal(outline(events), 'queued, started 1, retrying 2, started 2, completed')
  }
  assert.deepEqual(disturbed.map(textOf), undisturbed.map(textOf))
  assert.deepEqual(disturbed.map(completionTokens), undisturbed.map(completionTokens))
})

const completionTokens = (events: TaskEvent[]): number | undefined =>
  events.find((event) => event.type === 'completed')?.usage.completion_tokens

test('tasks whose model cannot be loaded any more end with `model_failed`, and do not wait for ever', async (t) => {
  const dir = await mkdtemp(join(tmpdir(), 'rejoin-model-'))
  t.after(() => rm(dir, { recursive: true }))
  await cp(MODEL_DIR, dir, { recursive: true, filter: (path) => !/(q4|plain)\.onnx$/.test(path) })
  const gateway = await openGateway(t, { models: [{ source: onnxSource(dir), workers: 1 }] })
  await rm(join(dir, 'onnx', 'model.onnx'))
  const [thread] = gateway.dispatchers[0]?.engine.workers ?? []

  await thread?.terminate()
  const events = await whole(gateway, await submit(gateway, aSpec({ text: 'Hello' })))

  const last = events.at(-1)
  assert.equal(last?.type === 'failed' && last.error.code, 'model_failed')
})
