/**
 * Task ids: `task_` and 21 URL-safe characters (nanoid: 126 random bits).
 *
 * An id is the only thing that a caller needs to come back to an answer, so it must not be guessable; that
 * is why it is random and not a counter.
 */
import { nanoid } from 'nanoid'

export type TaskId = `task_${string}`

const TASK_ID = /^task_[A-Za-z0-9_-]{21}$/

export const newTaskId = (): TaskId => `task_${nanoid()}`

export const isTaskId = (text: string): text is TaskId => TASK_ID.test(text)

export const newRequestId = (): string => `req_${nanoid()}`
