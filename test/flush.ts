/** What a task says, as a recorder gives it to a backend: added to its log, and not visible yet. */
import type { Flush } from '../src/backend/backend.js'
import type { TaskEvent } from '../src/core/event.js'
import { TaskLog } from '../src/log/task-log.js'

/** The next events of a log. */
export function flushOf(log: TaskLog, attempt: number, events: readonly TaskEvent[], ids: number[] = []): Flush {
  const from = log.addedSeq
  for (const event of events) log.add(event)
  return { id: log.task, attempt, log, from, to: log.addedSeq, ids }
}

/** For tests that have no log: of one whose events before these nobody looks at. */
export function looseFlush(attempt: number, events: readonly [TaskEvent, ...TaskEvent[]], ids: number[] = []): Flush {
  const [{ task, seq, at }] = events
  const log = new TaskLog(task, seq)
  while (log.addedSeq < seq - 1) log.append({ task, seq: log.addedSeq + 1, at, type: 'queued', position: 0 })
  return flushOf(log, attempt, events, ids)
}
