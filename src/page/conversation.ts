/**
 * Conversations as they are kept in the browser, and what follows from them. Plain data and pure functions.
 *
 * An answer that has not ended is kept without its text: the gateway has that. Before its task is known the answer has
 * the request and the key under which it is sent, so that whoever opens the page next sends it again and gets the same
 * task.
 */
import type { TaskEvent, TaskRequest } from '../client/index.js'

export type Question = { id: string; role: 'user'; text: string }

/** `lost`: the gateway does not have it any more. */
export type AnswerStatus = 'waiting' | 'completed' | 'failed' | 'canceled' | 'lost'

export type Answer = {
  id: string
  role: 'assistant'
  status: AnswerStatus
  /** Until the task is known. */
  request: TaskRequest | null
  key: string
  task: string | null
  /** When it has ended. */
  text: string
  /** Why it ended as it did, where that needs words. */
  reason: string | null
  stats: Stats | null
}

export type Message = Question | Answer

export type Conversation = {
  id: string
  title: string
  /** Unix ms. */
  updatedAt: number
  messages: Message[]
}

/** Of an answer. Times are ms from the task's acceptance, as the gateway measured them. */
export type Stats = { tokens: number; firstTokenMs: number | null; totalMs: number; finish: string | null }

export type Settings = {
  /** '': the gateway's first one. */
  model: string
  /** Null: the model's own. */
  temperature: number | null
  maxTokens: number | null
  system: string
}

export const DEFAULTS: Settings = { model: '', temperature: null, maxTokens: null, system: '' }

const MAX_TITLE = 48
/** In less time nothing can be said of a rate. */
const SHORT_MS = 20

export const newConversation = (id: string, now: number): Conversation => ({
  id,
  title: 'New conversation',
  updatedAt: now,
  messages: [],
})

export function titleOf(text: string): string {
  const line = text.replaceAll(/\s+/g, ' ').trim()
  return line.length <= MAX_TITLE ? line : `${line.slice(0, MAX_TITLE - 1).trimEnd()}…`
}

/** The request for an answer to these messages, whose last one is a question. */
export function requestFor(messages: readonly Message[], settings: Settings): TaskRequest {
  const { model, temperature, maxTokens, system } = settings
  const turns = messages
    // An answer that never said anything is no turn.
    .filter(({ role, text }) => role === 'user' || text !== '')
    .map(({ role, text }) => ({ role, content: text }))
  return {
    messages: system === '' ? turns : [{ role: 'system', content: system }, ...turns],
    ...(model === '' ? {} : { model }),
    ...(temperature === null ? {} : { temperature }),
    ...(maxTokens === null ? {} : { max_tokens: maxTokens }),
  }
}

export const newAnswer = (id: string, key: string, request: TaskRequest): Answer => ({
  id,
  role: 'assistant',
  status: 'waiting',
  request,
  key,
  task: null,
  text: '',
  reason: null,
  stats: null,
})

/** The conversation with one message changed. */
export const withMessage = (conversation: Conversation, message: Message): Conversation => ({
  ...conversation,
  messages: conversation.messages.map((each) => (each.id === message.id ? message : each)),
})

/** An answer after its terminal event; any other event leaves it as it is. */
export function afterEvent(answer: Answer, event: TaskEvent, text: string): Answer {
  switch (event.type) {
    case 'completed': {
      const { usage, timings, finish_reason } = event
      const stats: Stats = {
        tokens: usage.completion_tokens,
        firstTokenMs: timings.first_token_ms,
        totalMs: timings.total_ms,
        finish: finish_reason,
      }
      return { ...answer, status: 'completed', text, stats }
    }
    case 'failed':
      return { ...answer, status: 'failed', text, reason: reasonFor(event.error.code, event.error.message) }
    case 'canceled':
      return { ...answer, status: 'canceled', text, reason: event.by === 'client' ? null : `Ended by ${event.by}.` }
    default:
      return answer
  }
}

/** In words that help. */
export function reasonFor(code: string, message: string): string {
  switch (code) {
    case 'prompt_too_long':
      return 'This conversation has become too long for the model. Begin a new one.'
    case 'log_gone':
    case 'task_not_found':
      return 'The gateway does not keep this answer any more.'
    default:
      return message
  }
}

/** Tokens a second of a whole answer; null when that says nothing. */
export function rateOf({ tokens, firstTokenMs, totalMs }: Stats): number | null {
  if (firstTokenMs === null || tokens < 2 || totalMs - firstTokenMs < SHORT_MS) return null
  return ((tokens - 1) / (totalMs - firstTokenMs)) * 1000
}
