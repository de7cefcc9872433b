/**
 * The chat protocol of the AI SDK (`useChat`): its request, checked, as a task, and a task's log as its stream of UI
 * message chunks (AI SDK 6, "UI message stream protocol").
 *
 * A stream always begins at the beginning, also when it is resumed: the client builds its message anew.
 */
import Type from 'typebox'
import type { Entry } from '../core/entry.js'
import { RejoinError } from '../core/errors.js'
import { isTerminal } from '../core/event.js'
import type { Message, TaskSpec } from '../core/task.js'
import { checker } from './checker.js'
import { ALLOWED, COMMON_FIELDS, commonSpec, MAX_ITEMS, MaxTokens } from './fields.js'
import type { Framing } from './framing.js'
import { isObject } from './object.js'
import { DONE } from './openai/completion.js'
import { ALL_TOKENS, asked } from './openai/completion-request.js'
import { invalid, messageList } from './openai/content.js'
import { finishReason } from './openai/ending.js'
import { openaiId } from './openai/ids.js'
import { SSE_NOTHING } from './sse.js'

export const UI_MESSAGE_HEADERS: readonly [string, string][] = [['x-vercel-ai-ui-message-stream', 'v1']]

/** Of a chat's name. */
const MAX_CHAT_CHARACTERS = 200

const check = checker(
  Type.Object(
    {
      ...COMMON_FIELDS,
      id: Type.String({ minLength: 1, maxLength: MAX_CHAT_CHARACTERS }),
      messages: Type.Unknown(),
      max_tokens: Type.Optional(MaxTokens),
    },
    { additionalProperties: false },
  ),
  { noun: 'a chat request', maxItems: { ...MAX_ITEMS, messages: Number.POSITIVE_INFINITY }, allowed: ALLOWED },
)

/** The answer goes on when its client goes: it comes back with the chat's name.
 * @throws RejoinError `invalid_request`, `unknown_field`, `unsupported_field` */
export function parseUiChatRequest(given: unknown, newSeed: () => number): TaskSpec {
  const value = check(asked(given, { trigger: ['submit-message', 'regenerate-message'], messageId: 'label' }))
  return {
    ...commonSpec(value, { newSeed, onDisconnect: { type: 'continue' } }),
    prompt: { type: 'chat', messages: messageList(value.messages, 'messages', messageOf) },
    maxTokens: value.max_tokens ?? ALL_TOKENS,
    stop: [],
    topLogprobs: null,
    origin: { type: 'chat', chat: value.id },
  }
}

const ROLES: readonly unknown[] = ['system', 'user', 'assistant']

function messageOf(given: unknown, path: string): Message {
  if (!isObject(given)) throw invalid(path, 'a message', given)
  const { role, parts } = given
  if (!ROLES.includes(role)) throw invalid(`${path}.role`, `one of ${ROLES.join(', ')}`, role)
  if (!Array.isArray(parts)) throw invalid(`${path}.parts`, 'an array of parts', parts)
  const texts = parts.map((part: unknown, index) => partText(part, `${path}.parts.${index}`))
  return { role: role as string, content: texts.filter((text) => text !== null).join('\n') }
}

/** What is shown beside a text and was never input of a model. */
const BESIDE = /^(step-start|reasoning|source-.*|data-.*)$/

/** Null for a part that a model does not read. */
function partText(part: unknown, path: string): string | null {
  if (!isObject(part) || typeof part.type !== 'string') throw invalid(path, 'a part', part)
  if (part.type === 'text' && typeof part.text === 'string') return part.text
  if (BESIDE.test(part.type)) return null
  const type = JSON.stringify(part.type.slice(0, 100))
  throw new RejoinError('unsupported_field', `\`${path}\` is of type ${type}, which is not supported; only text is`, {
    param: path,
  })
}

/** The one text part of an answer. */
const TEXT_ID = 'text'

export class UiMessageChunks implements Framing {
  readonly opening = SSE_NOTHING
  readonly #onEnd: () => void
  #started = false

  /** @param onEnd called when the end was handed out */
  constructor(onEnd: () => void) {
    this.#onEnd = onEnd
  }

  frame({ event }: Entry): string {
    if (isTerminal(event)) this.#onEnd()
    switch (event.type) {
      case 'queued':
        return (
          chunk({
            type: 'start',
            messageId: openaiId('msg_', event.task),
            messageMetadata: { task: event.task, createdAt: event.at },
          }) + transient('data-queue', { position: event.position })
        )
      case 'started':
        if (this.#started) return ''
        this.#started = true
        return chunk({ type: 'start-step' }) + chunk({ type: 'text-start', id: TEXT_ID })
      case 'token':
        return event.text === '' ? '' : chunk({ type: 'text-delta', id: TEXT_ID, delta: event.text })
      case 'progress':
        return transient('data-progress', { percent: event.percent })
      case 'retrying':
        return ''
      case 'completed': {
        const { usage, timings } = event
        const finish = {
          type: 'finish',
          finishReason: finishReason(event.finish_reason),
          messageMetadata: { usage, timings },
        }
        return this.#textEnd() + chunk({ type: 'finish-step' }) + chunk(finish) + DONE
      }
      case 'failed':
        return this.#textEnd() + chunk({ type: 'error', errorText: event.error.message }) + DONE
      case 'canceled':
        return this.#textEnd() + chunk({ type: 'abort', reason: `canceled by ${event.by}` }) + DONE
      default:
        return event satisfies never
    }
  }

  #textEnd(): string {
    return this.#started ? chunk({ type: 'text-end', id: TEXT_ID }) : ''
  }
}

const chunk = (value: Record<string, unknown>): string => `data: ${JSON.stringify(value)}\n\n`

/** Shown while it streams, and no part of the message. */
const transient = (type: string, data: Record<string, unknown>): string => chunk({ type, data, transient: true })
