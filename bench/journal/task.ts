/** A task such as a chat client makes. */
import type { TaskId } from '../../src/core/id.js'
import type { Task } from '../../src/core/task.js'

export const newTask = (id: TaskId, ordinal: number): Task => ({
  id,
  ordinal,
  owner: 'bench',
  model: 'm',
  createdAt: Date.now(),
  bytes: 100,
  promptIds: null,
  idempotency: null,
  spec: {
    prompt: { type: 'text', text: 'Tell me a story about a fox who lost a kite.' },
    maxTokens: 200,
    sampling: { seed: 1, temperature: 0 },
    stop: [],
    topLogprobs: null,
    onDisconnect: { type: 'continue' },
    webhook: null,
    priority: 5,
    deadlineMs: null,
    maxWaitMs: null,
    metadata: {},
  },
})
