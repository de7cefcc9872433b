/**
 * Entries, tasks and errors as JSON objects: the native form of PROTOCOL sections 3, 4 and 7.
 *
 * Pure functions. An entry is encoded once, whoever asks first, and kept on the entry.
 */
import type { Entry } from '../core/entry.js'
import type { RejoinError } from '../core/errors.js'
import type { FinishReason, Seq, TaskEvent, Usage } from '../core/event.js'
import type { TaskId } from '../core/id.js'
import type { TaskState } from '../core/state.js'
import type { TaskStatus } from '../core/task.js'

export const entryJson = (entry: Entry): string => {
  entry.json ??= eventJson(entry.event)
  return entry.json
}

/** As `JSON.stringify`; a token, as nearly all are, in a third of its time. */
function eventJson(event: TaskEvent): string {
  if (event.type !== 'token' || event.logprobs) return JSON.stringify(event)
  const { task, seq, at, text, tokens, from } = event
  const merged = from === undefined ? '' : `,"from":${from}`
  return `{"task":"${task}","seq":${seq},"at":${at},"type":"token","text":${JSON.stringify(text)},"tokens":${tokens}${merged}}`
}

/** What a task object tells beside its state. */
export type TaskExtras = {
  text: string
  /** Tasks ahead; null when it is not queued. */
  queuePosition: number | null
  /** Null when it is not queued, or when no task has been measured yet. */
  estimatedWaitMs: number | null
  /** Unix ms; null while it is not ended. */
  expiresAt: number | null
}

/** The task of PROTOCOL section 4. Times are unix ms. */
export type TaskObject = {
  id: TaskId
  object: 'task'
  status: TaskStatus
  model: string
  created_at: number
  started_at: number | null
  finished_at: number | null
  expires_at: number | null
  attempt: number
  queue_position: number | null
  estimated_wait_ms: number | null
  /** 0 … 1 */
  progress: number
  last_seq: Seq
  output: { text: string }
  finish_reason: FinishReason | null
  usage: Usage | null
  error: { code: string; message: string } | null
  metadata: Record<string, string>
  links: { self: string; events: string; websocket: string }
}

export function taskObject(state: TaskState, extras: TaskExtras): TaskObject {
  const { task } = state
  const self = `/v1/tasks/${task.id}`
  return {
    id: task.id,
    object: 'task',
    status: state.status,
    model: task.model,
    created_at: task.createdAt,
    started_at: state.startedAt,
    finished_at: state.finishedAt,
    expires_at: extras.expiresAt,
    attempt: state.attempt,
    queue_position: extras.queuePosition,
    estimated_wait_ms: extras.estimatedWaitMs,
    progress: state.percent / 100,
    last_seq: state.lastSeq,
    output: { text: extras.text },
    finish_reason: state.finishReason,
    usage: state.usage,
    error: state.error,
    metadata: task.spec.metadata,
    links: { self, events: `${self}/events`, websocket: '/v1/ws' },
  }
}

/** A page of events, put together from the entries' own JSON. */
export function eventsPage(task: string, entries: Entry[], next: number, done: boolean): string {
  return `{"task":"${task}","events":[${entries.map(entryJson).join(',')}],"next":${next},"done":${done}}`
}

const TYPES: Record<number, string> = {
  401: 'authentication_error',
  403: 'permission_error',
  404: 'not_found_error',
  429: 'rate_limit_error',
}

/** The error of PROTOCOL section 7, the shape that OpenAI clients parse. */
export function errorObject(error: RejoinError): { error: Record<string, unknown> } {
  const { status } = error
  const type = TYPES[status] ?? (status >= 500 ? 'server_error' : 'invalid_request_error')
  return { error: { message: error.message, type, code: error.code, param: error.param } }
}
