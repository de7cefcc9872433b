/**
 * What a client is told when something is over for good.
 */
import { ERRORS, type ErrorCode } from '../core/errors.js'

/** A refusal of the gateway, with its code (the README lists them), or the end of a task without an answer. */
export class RejoinError extends Error {
  /** One of the gateway's codes; `canceled` when the task was; the code of its `failed` event when it failed. */
  readonly code: string
  /** Of the HTTP answer; null when there was none. */
  readonly status: number | null
  /** The field at fault. */
  readonly param: string | null

  constructor(code: string, message: string, status: number | null = null, param: string | null = null) {
    super(message)
    this.name = 'RejoinError'
    this.code = code
    this.status = status
    this.param = param
  }
}

/** Whether a refusal with this code can be another answer later. */
export const mayChange = (code: string): boolean =>
  Object.hasOwn(ERRORS, code) && ERRORS[code as ErrorCode].retry === 'later'
