/**
 * Messages and their content as OpenAI's clients send them, down to roles and texts.
 */
import { RejoinError } from '../../core/errors.js'
import type { Message } from '../../core/task.js'
import { MAX_ITEMS } from '../fields.js'
import { isObject } from '../object.js'
import { shown } from '../shown.js'
import { type Harmless, withoutHarmless } from './harmless.js'

/** What a message of one protocol looks like. */
export type MessageForm = {
  /** Fields that a message may have beside `role` and `content`: clients send back what they were given. */
  harmless: Harmless
  /** The types of a part that is text. */
  textTypes: readonly string[]
}

const ROLES: readonly unknown[] = ['system', 'developer', 'user', 'assistant']

/** @throws RejoinError `invalid_request`, `unknown_field`, `unsupported_field` */
export const messagesOf = (given: unknown, name: string, form: MessageForm): Message[] =>
  messageList(given, name, (message, path) => messageOf(message, path, form))

/** Each as `read` reads it, with its place in the request. @throws RejoinError `invalid_request`, and as `read` does */
export function messageList(
  given: unknown,
  name: string,
  read: (message: unknown, path: string) => Message,
): Message[] {
  const max = MAX_ITEMS.messages
  if (!Array.isArray(given) || given.length === 0 || given.length > max) {
    throw invalid(name, `an array of 1 to ${max} messages`, given)
  }
  return given.map((message: unknown, index) => read(message, `${name}.${index}`))
}

function messageOf(given: unknown, path: string, { harmless, textTypes }: MessageForm): Message {
  if (!isObject(given)) throw invalid(path, 'a message', given)
  const { role, content, ...rest } = withoutHarmless(given, harmless, `${path}.`)
  refuseRest(rest, path, 'a message')
  if (!ROLES.includes(role)) throw invalid(`${path}.role`, `one of ${ROLES.join(', ')}`, role)
  return { role: role as string, content: textOf(content, `${path}.content`, textTypes) }
}

/** A text, or the texts of its parts as lines. */
function textOf(given: unknown, path: string, textTypes: readonly string[]): string {
  if (typeof given === 'string') return given
  if (!Array.isArray(given)) throw invalid(path, 'a text or an array of parts', given)
  return given.map((part: unknown, index) => partText(part, `${path}.${index}`, textTypes)).join('\n')
}

const PART: Harmless = { annotations: [[]], logprobs: 'label' }

function partText(given: unknown, path: string, textTypes: readonly string[]): string {
  if (!isObject(given)) throw invalid(path, 'a part', given)
  if (typeof given.type !== 'string') throw invalid(`${path}.type`, 'a text', given.type)
  if (!textTypes.includes(given.type)) {
    const message = `\`${path}\` is of type ${shown(given.type)}, which is not supported; only ${textTypes.join(', ')} is`
    throw new RejoinError('unsupported_field', message, { param: path })
  }
  const { type: _, text, ...rest } = withoutHarmless(given, PART, `${path}.`)
  refuseRest(rest, path, 'a part')
  if (typeof text !== 'string') throw invalid(`${path}.text`, 'a text', text)
  return text
}

/** @throws RejoinError `unknown_field` when anything is left */
function refuseRest(rest: Record<string, unknown>, path: string, noun: string): void {
  const [name] = Object.keys(rest)
  if (name === undefined) return
  const param = `${path}.${name.slice(0, 200)}`
  throw new RejoinError('unknown_field', `\`${param}\` is not a field of ${noun}`, { param })
}

export const invalid = (param: string, what: string, given: unknown): RejoinError =>
  new RejoinError('invalid_request', `\`${param}\` must be ${what}, got ${shown(given)}`, { param })
