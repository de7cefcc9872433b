/**
 * The ids that OpenAI's clients see: the random part of the task's own, so that each names its task.
 */
import { isTaskId, type TaskId } from '../../core/id.js'

const TASK = 'task_'

export type IdPrefix = 'chatcmpl-' | 'cmpl-' | 'resp_' | 'msg_'

export const openaiId = (prefix: IdPrefix, task: TaskId): string => prefix + task.slice(TASK.length)

/** Null for a text that is no id of that kind. */
export function taskOfId(prefix: IdPrefix, text: string): TaskId | null {
  if (!text.startsWith(prefix)) return null
  const id = TASK + text.slice(prefix.length)
  return isTaskId(id) ? id : null
}
