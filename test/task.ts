/** A checked task for tests that begin behind the request checker. */
import { newTaskId, type TaskId } from '../src/core/id.js'
import type { Task, TaskSpec } from '../src/core/task.js'

type Fields = Partial<Omit<Task, 'spec'>> & { text?: string } & Partial<TaskSpec>

export const aSpec = ({ text = '{}', ...fields }: { text?: string } & Partial<TaskSpec> = {}): TaskSpec => ({
  prompt: { type: 'text', text },
  maxTokens: null,
  sampling: { seed: 1, temperature: 0 },
  stop: [],
  topLogprobs: null,
  onDisconnect: { type: 'continue' },
  priority: 5,
  deadlineMs: null,
  maxWaitMs: null,
  metadata: {},
  ...fields,
})

export const aTask = (fields: Fields = {}): Task => {
  const { id = newTaskId(), owner = 'me', model = 'm', createdAt = 1, bytes = 10, idempotency = null, ...spec } = fields
  return { id: id as TaskId, owner, model, createdAt, bytes, idempotency, spec: aSpec(spec) }
}
