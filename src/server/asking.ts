/**
 * A request for text by a protocol that answers with the text: the task behind it, and its end.
 */
import { RejoinError } from '../core/errors.js'
import type { TerminalEvent } from '../core/event.js'
import type { TaskId } from '../core/id.js'
import type { TaskSpec } from '../core/task.js'
import type { Gateway, Received } from '../gateway/gateway.js'
import type { TaskRecord } from '../gateway/record.js'
import { draining } from '../gateway/refusals.js'
import { authenticate } from './auth.js'
import type { OpenAnswers } from './open-answers.js'
import type { Exchange } from './request.js'
import { waitFor } from './waiting.js'

export type Asked = { record: TaskRecord; headers: [string, string][] }

/** Makes the task, or finds the one that its idempotency key made; the answer names it.
 * @throws RejoinError as `Gateway.submitFollowed` does */
export async function ask(exchange: Exchange, gateway: Gateway, spec: TaskSpec, what: Received): Promise<Asked> {
  const { record, replay } = await gateway.submitFollowed(authenticate(), spec, what)
  exchange.task = record.task.id
  return { record, headers: replay ? [['Idempotent-Replay', 'true']] : [] }
}

/** Null for a task that is not there, or not any more. */
export async function lookUp(gateway: Gateway, id: TaskId): Promise<TaskRecord | null> {
  try {
    return await gateway.find(authenticate(), id)
  } catch (error) {
    if (error instanceof RejoinError && (error.code === 'task_not_found' || error.code === 'log_gone')) return null
    throw error
  }
}

/** Never resolves when the client goes away.
 * @throws RejoinError `draining` when the gateway closes first, `too_many_readers` */
export async function endOf(
  exchange: Exchange,
  gateway: Gateway,
  answers: OpenAnswers,
  record: TaskRecord,
): Promise<TerminalEvent> {
  const { log } = record
  const ended = (): boolean => log.ended
  const end = await waitFor(exchange, gateway, answers, record, log.lastSeq, null, ended, () => log.end)
  if (end === null) throw draining()
  return end
}
