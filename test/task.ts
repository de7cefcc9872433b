/** A checked task for tests that begin behind the request checker. */
import { newTaskId, type TaskId } from '../src/core/id.js'
import type { Task, TaskSpec } from '../src/core/task.js'
import { TaskRecord } from '../src/gateway/record.js'
import { TaskLog } from '../src/log/task-log.js'

type Fields = Partial<Omit<Task, 'spec'>> & { text?: string } & Partial<TaskSpec>

export const aSpec = ({ text = '{}', ...fields }: { text?: string } & Partial<TaskSpec> = {}): TaskSpec => ({
  prompt: { type: 'text', text },
  maxTokens: null,
  sampling: { seed: 1, temperature: 0 },
  stop: [],
  topLogprobs: null,
  onDisconnect: { type: 'continue' },
  webhook: null,
  priority: 5,
  deadlineMs: null,
  maxWaitMs: null,
  metadata: {},
  ...fields,
})

let ordinals = 0

export const aTask = (fields: Fields = {}): Task => {
  const {
    id = newTaskId(),
    ordinal = ++ordinals,
    owner = 'me',
    model = 'm',
    createdAt = Date.now(),
    bytes = 10,
    ...rest
  } = fields
  const { promptIds = null, idempotency = null, ...spec } = rest
  return { id: id as TaskId, ordinal, owner, model, createdAt, bytes, promptIds, idempotency, spec: aSpec(spec) }
}

/** What is known of a task that was just accepted. */
export const aRecord = (fields: Fields = {}): TaskRecord => {
  const task = aTask(fields)
  return new TaskRecord(task, new TaskLog(task.id, 16))
}
