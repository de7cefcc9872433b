/**
 * Every way in which Rejoin says no, in one table: code, HTTP status, and whether asking again can help.
 *
 * Callers decide by `code`, never by `message`. The README's list is tested against this table. A class does
 * not survive the copy to another thread, so there an error travels as `{code, message}`.
 */
export type ErrorSpec = {
  status: number
  /** `never`: the same request will fail again. `later`: it can succeed after a wait (`Retry-After`). */
  retry: 'never' | 'later'
  /** For the README, one line. */
  meaning: string
}

const spec = (status: number, retry: 'never' | 'later', meaning: string): ErrorSpec => ({ status, retry, meaning })

export const ERRORS = {
  invalid_json: spec(400, 'never', 'the body or frame is not JSON (or msgpack) in valid UTF-8'),
  invalid_request: spec(400, 'never', 'a field has a wrong type or value; `param` names it'),
  unknown_field: spec(400, 'never', 'the request has a field that the protocol does not; `param` names it'),
  unsupported_field: spec(400, 'never', 'a field of the protocol that this gateway cannot honour yet'),
  invalid_position: spec(400, 'never', 'a position (`after`, `Last-Event-ID`) is not a whole number from 0'),
  invalid_prompt: spec(400, 'never', 'the model cannot read this prompt; at the door, or in a `failed` event'),
  prompt_too_long: spec(
    400,
    'never',
    'the prompt does not fit into the model’s context; at the door, or in a `failed` event',
  ),
  model_not_found: spec(404, 'never', 'no model of that name is served'),
  task_not_found: spec(404, 'never', 'no task with that id, or it belongs to somebody else'),
  response_not_found: spec(
    404,
    'never',
    'no response with that id (OpenAI protocol), or it was made with `store: false`',
  ),
  previous_response_not_found: spec(
    400,
    'never',
    '`previous_response_id` names no response, or one that has not ended',
  ),
  task_canceled: spec(409, 'never', 'the task was canceled before its answer was whole (OpenAI protocol)'),
  artifact_not_found: spec(404, 'never', 'the task has no artifact of that name'),
  not_found: spec(404, 'never', 'no such path'),
  method_not_allowed: spec(405, 'never', 'the path exists, but not with this method; see `Allow`'),
  position_ahead: spec(409, 'never', 'the position is beyond the end of the log: another log was followed'),
  idempotency_conflict: spec(409, 'never', 'the `Idempotency-Key` was used with another body'),
  log_gone: spec(410, 'never', 'the events asked for were dropped by retention'),
  upgrade_required: spec(426, 'never', 'the path is for WebSockets only'),
  body_too_large: spec(413, 'never', 'the body is over `--max-body-bytes`'),
  queue_full: spec(429, 'later', 'the queue is full, or the estimated wait is over `max_wait_ms`'),
  too_many_keys: spec(429, 'later', 'the table of idempotency keys is full (`--max-idempotency-keys`)'),
  too_many_webhooks: spec(429, 'later', 'as many webhooks wait for their delivery as `--max-webhooks` allows'),
  too_many_readers: spec(429, 'later', 'as many readers follow as `--max-readers` allows'),
  too_many_subscriptions: spec(429, 'later', 'the socket follows as many tasks as `--max-subscriptions` allows'),
  too_many_sockets: spec(503, 'later', 'as many WebSockets are open as `--max-sockets` allows'),
  loading: spec(503, 'later', 'a model is not loaded yet (`/readyz` only: tasks are accepted and wait)'),
  storage_full: spec(
    503,
    'later',
    'the data directory takes nothing (a full disk): nothing new is accepted until it does',
  ),
  draining: spec(503, 'later', 'the gateway is shutting down'),
  internal: spec(500, 'later', 'a defect of the gateway; the log has the request id'),
  worker_lost: spec(500, 'later', 'in a `failed` event: the worker died, and no allowed attempt brought a token'),
  model_failed: spec(500, 'later', 'in a `failed` event: the model could not go on, in any allowed attempt'),
} as const satisfies Record<string, ErrorSpec>

export type ErrorCode = keyof typeof ERRORS

export type ErrorOptions = {
  /** The field at fault. */
  param?: string
  /** Seconds until asking again is worth it. */
  retryAfterS?: number
}

export class RejoinError extends Error {
  readonly code: ErrorCode
  readonly param: string | null
  readonly retryAfterS: number | null

  constructor(code: ErrorCode, message: string, options: ErrorOptions = {}) {
    super(message)
    this.name = 'RejoinError'
    this.code = code
    this.param = options.param ?? null
    this.retryAfterS = options.retryAfterS ?? null
  }

  get status(): number {
    return ERRORS[this.code].status
  }
}
