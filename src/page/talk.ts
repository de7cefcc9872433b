/**
 * What a person can do in a conversation: ask, ask again, stop.
 */
import {
  type Answer,
  type Conversation,
  type Message,
  newAnswer,
  type Question,
  requestFor,
  titleOf,
} from './conversation.js'
import { follow, stop } from './live.js'
import { conversations, current, newId, open, save, settings } from './store.js'

export function ask(text: string): void {
  const conversation = current.peek()
  const question: Question = { id: newId(), role: 'user', text }
  const title = conversation.messages.length === 0 ? titleOf(text) : conversation.title
  answer({ ...conversation, title }, [...conversation.messages, question])
  open(conversation.id)
}

/** The last answer once more, in its place. */
export function regenerate(): void {
  const conversation = current.peek()
  const last = conversation.messages.at(-1)
  if (last?.role === 'assistant' && last.status !== 'waiting') answer(conversation, conversation.messages.slice(0, -1))
}

/** Asks for the answer to these messages, whose last one is a question. */
function answer(conversation: Conversation, messages: Message[]): void {
  const next = newAnswer(newId(), newId(), requestFor(messages, settings.peek()))
  save({ ...conversation, updatedAt: Date.now(), messages: [...messages, next] })
  follow(conversation.id, next)
}

/** The answer that is under way, if there is one. */
export function waitingAnswer(): Answer | null {
  const last = current.value.messages.at(-1)
  return last?.role === 'assistant' && last.status === 'waiting' ? last : null
}

export async function stopAnswer(): Promise<void> {
  const answer = waitingAnswer()
  if (answer !== null) await stop(answer.id)
}

/** Takes up every answer that has not ended: after a reload, and what another tab asked for. */
export function takeUp(): void {
  for (const { id, messages } of conversations.value.values()) {
    const last = messages.at(-1)
    if (last?.role === 'assistant' && last.status === 'waiting') follow(id, last)
  }
}
