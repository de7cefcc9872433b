/**
 * How the gateway says no: the errors of its verbs, with what a caller needs to know of the reason.
 */
import type { Full } from '../backend/backend.js'
import { RejoinError } from '../core/errors.js'
import type { TaskId } from '../core/id.js'
import type { TaskSpec } from '../core/task.js'
import type { Dispatcher } from './dispatcher.js'

export const notFound = (id: TaskId): RejoinError => new RejoinError('task_not_found', `no task ${id}`)

export const gone = (id: TaskId): RejoinError =>
  new RejoinError('log_gone', `task ${id} ended and its log was dropped by retention`)

export const draining = (): RejoinError =>
  new RejoinError('draining', 'the gateway is shutting down', { retryAfterS: 1 })

export const storageFull = (): RejoinError =>
  new RejoinError('storage_full', 'the data directory takes nothing at present', { retryAfterS: 5 })

export function full({ bound, max }: Full, { admission, engine }: Dispatcher): RejoinError {
  const retryAfterS = admission.retryAfterS(engine.slots)
  switch (bound) {
    case 'queue':
      return new RejoinError('queue_full', `${max} tasks wait, the bound`, { retryAfterS })
    case 'bytes':
      return new RejoinError('queue_full', `the requests that wait hold ${max} bytes, the bound`, { retryAfterS })
    case 'storage':
      return storageFull()
    case 'keys':
      return new RejoinError('too_many_keys', `${max} idempotency keys are in use, the bound`, { retryAfterS: 60 })
    default:
      return bound satisfies never
  }
}

/** @throws RejoinError `queue_full` when the estimated wait is longer than the caller wants */
export function refuseLongWait({ admission, engine }: Dispatcher, spec: TaskSpec, ahead: number): void {
  const waitMs = admission.waitMs(ahead, engine.slots, engine.free)
  if (spec.maxWaitMs === null || waitMs === null || waitMs <= spec.maxWaitMs) return
  throw new RejoinError('queue_full', `the estimated wait is ${waitMs} ms, over max_wait_ms = ${spec.maxWaitMs}`, {
    retryAfterS: Math.ceil((waitMs - spec.maxWaitMs) / 1000),
  })
}
