/**
 * What the peers say: the same events as the gateway, so that all of them move the same bytes.
 *
 * The seq of a peer's first token is 1, for a peer has no `queued` and no `started`; the terminal event is the next after the
 * last token.
 */
import type { TaskEvent } from '../../src/core/event.js'
import type { TaskId } from '../../src/core/id.js'

export type Said = Pick<TaskEvent, 'task' | 'seq' | 'at' | 'type'>

export const tokenEvent = (task: TaskId, seq: number, text: string): Said & { text: string; tokens: number } => ({
  task,
  seq,
  at: Date.now(),
  type: 'token',
  text,
  tokens: 1,
})

export const completedEvent = (task: TaskId, seq: number): Said & { finish_reason: string } => ({
  task,
  seq,
  at: Date.now(),
  type: 'completed',
  finish_reason: 'stop',
})

/** A stream begins with it. */
export const SSE_RETRY = 'retry: 1000\n\n'

export const sseFrame = (event: Said): string =>
  `id: ${event.seq}\nevent: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`
