/**
 * One task in the hands of a dispatcher: what its attempts share, and what follows from it as events.
 *
 * Pure: nothing here moves a run from one place to another or records anything.
 */
import { ERRORS, type ErrorCode } from '../core/errors.js'
import type { EventBody } from '../core/event.js'
import type { End, Handle } from '../engine/messages.js'
import type { TaskLog } from '../log/task-log.js'
import type { TaskRecord } from './record.js'
import { Saying } from './recorder.js'

export type Run = {
  record: TaskRecord
  attempt: number
  /** The attempt that said `started` last: one that goes on after a pause does not say it again. */
  startedAttempt: number
  /** Attempts in a row, the present one included, that have brought no token. */
  fruitless: number
  /** Its last attempt ended with the process that it ran in, and it has not said so yet. */
  interrupted: boolean
  /** Null while it has no slot. */
  handle: Handle | null
  /** When it got its slot, unix ms. */
  slotSince: number
  /** With a slot, before `slotSince`. */
  servedMs: number
  /** What the answer has so far: the next attempt goes on from here. */
  ids: number[]
  promptTokens: number
  maxTokens: number
  percent: number
  firstTokenAt: number | null
  /** What it says in the flush of its worker that is being read. */
  saying: Saying | null
}

export type Failure = { code: string; message: string }

export const newRun = (record: TaskRecord): Run => ({
  record,
  attempt: 1,
  startedAttempt: 0,
  fruitless: fruitlessIn(record.log),
  interrupted: false,
  handle: null,
  slotSince: 0,
  servedMs: 0,
  ids: [],
  promptTokens: 0,
  maxTokens: 0,
  percent: 0,
  firstTokenAt: null,
  saying: null,
})

/** One that had started when its process ended. It is to say so as soon as it is to be started again. */
export const interruptedRun = (record: TaskRecord, ids: number[]): Run => ({
  ...newRun(record),
  attempt: record.state.attempt,
  startedAttempt: record.state.attempt,
  interrupted: true,
  ids,
  percent: record.state.percent,
  firstTokenAt: record.log.firstTokenAt,
})

export const newSaying = ({ record, attempt }: Run): Saying => new Saying(record, attempt)

/** It is to be started anew, and its last attempt ended before it brought a token: perhaps its thread died of it. */
export const isSuspect = (run: Run): boolean => run.fruitless > 0 && run.attempt > run.startedAttempt

/** False: decoding would be for nobody, and its maker wants it to wait. */
export const mayRun = ({ record }: Run): boolean =>
  record.task.spec.onDisconnect.type !== 'pause' || record.log.readers > 0

export const canceling = ({ record }: Run): EventBody => ({ type: 'canceled', by: record.canceledBy ?? 'client' })

export const modelFailed = (reason: string): EventBody => ({
  type: 'failed',
  error: { code: 'model_failed', message: `no worker has the model: ${reason}` },
})

/** A quarter of the known work that was passed since the last time; to be asked until there is none. */
export function nextProgress(run: Run): EventBody | null {
  if (run.maxTokens === 0 || run.percent === 100) return null
  if (run.ids.length * 100 < (run.percent + 25) * run.maxTokens) return null
  run.percent += 25
  return { type: 'progress', percent: run.percent }
}

/**
 * What a log tells of `Run.fruitless`: how often it says `started` after its last token. It is counted in the log so
 * that a task which ends the whole process is found out, too.
 */
export function fruitlessIn(log: TaskLog): number {
  let count = 0
  let last = 0
  for (let index = 0, mark = log.markAt(0); mark; mark = log.markAt(++index)) {
    // What lies between two marks are tokens, and so is a mark without an entry.
    if (mark.entry === null || mark.seq > last + 1) count = 0
    if (mark.entry?.event.type === 'started') count++
    last = mark.seq
  }
  return log.lastSeq > last ? 0 : count
}

/**
 * What is said after an attempt that failed: that the next one comes, or the end. Only attempts in a row that brought no
 * token are bounded: an answer that gets on will be whole some day, whoever kills the threads that it runs in.
 */
export function afterFailure(run: Run, maxAttempts: number, reason: string, error: Failure): EventBody {
  if (run.record.canceledBy !== null) return canceling(run)
  if (run.fruitless >= maxAttempts) return { type: 'failed', error }
  return { type: 'retrying', attempt: run.attempt + 1, reason }
}

/** Whether another attempt can end better. */
export const mayRetry = ({ code }: Failure): boolean => code in ERRORS && ERRORS[code as ErrorCode].retry === 'later'

export function ending(run: Run, end: End): EventBody {
  switch (end.type) {
    case 'completed': {
      const { createdAt } = run.record.task
      const { startedAt } = run.record.state
      return {
        type: 'completed',
        finish_reason: end.finishReason,
        usage: {
          prompt_tokens: run.promptTokens,
          cached_tokens: end.cachedTokens,
          completion_tokens: run.ids.length,
        },
        timings: {
          queued_ms: (startedAt ?? Date.now()) - createdAt,
          first_token_ms: run.firstTokenAt === null ? null : run.firstTokenAt - createdAt,
          total_ms: Date.now() - createdAt,
        },
      }
    }
    case 'failed':
      return { type: 'failed', error: { code: end.code, message: end.message } }
    case 'canceled':
    // Its cancel came when the pause was on its way: no slot is left that could answer it.
    case 'paused':
      return canceling(run)
    default:
      return end satisfies never
  }
}
