/**
 * What a scripted answer says and when: the JSON object that the scripted model takes as its prompt.
 *
 *     {"tokens": 200, "rate": 50, "stamp": true, "text": "…", "crash_at": 50, "fail_at": [20, 90], "hang_at": 70}
 *
 * Every field has a default and is checked strictly, because a bench that misspells `rate` would measure something
 * else and not notice. The words of a token are made here; when it is said is the model's matter.
 */
import { RejoinError } from '../core/errors.js'
import type { Prompt } from '../core/task.js'

const MAX_TOKENS = 1_000_000
const MAX_RATE = 100_000
const MAX_HANG_MS = 86_400_000

export type Script = {
  /** Length of the answer, 0 … 1,000,000. Default 200. */
  tokens: number
  /** Tokens a second, 0 … 100,000; 0 = as fast as the loop steps. Default 0. */
  rate: number
  /** Each token says its number and when it fell due (at rate 0: was made): `i=K,t=MICROSECONDS;`. Default false. */
  stamp: boolean
  /** The whole answer, cut into `tokens` near-equal slices; goes before `stamp`. */
  text: string | null
  /** The thread exits. */
  crashAt: At
  /** The row fails with `model_failed`, and no other. */
  failAt: At
  /** The thread does nothing for `hangMs`, as in a native call that hangs; then the attempt goes on. */
  hangAt: At
  /** 0 … 86,400,000. Default 600,000: longer than a gateway waits for a thread, unless it is told to. */
  hangMs: number
}

/**
 * When something befalls a row: a moment after it handed out token K, for every K given that the answer did not have
 * when this attempt began; a K that is the last token or beyond never comes. `always`: at the first step of every
 * attempt. Default: never.
 */
export type At = number[] | 'always'

/** @throws RejoinError `invalid_prompt`, its message names the field. */
export const parseScript = (prompt: Prompt): Script => {
  const fields = parseObject(promptText(prompt))
  const script: Script = {
    tokens: 200,
    rate: 0,
    stamp: false,
    text: null,
    crashAt: [],
    failAt: [],
    hangAt: [],
    hangMs: 600_000,
  }
  for (const [field, value] of Object.entries(fields)) {
    switch (field) {
      case 'tokens':
        script.tokens = checkTokens(value)
        break
      case 'rate':
        script.rate = checkRate(value)
        break
      case 'stamp':
        if (typeof value !== 'boolean') throw refuse('`stamp` must be true or false', value)
        script.stamp = value
        break
      case 'text':
        if (typeof value !== 'string') throw refuse('`text` must be a string', value)
        script.text = value
        break
      case 'crash_at':
        script.crashAt = checkAt(field, value)
        break
      case 'fail_at':
        script.failAt = checkAt(field, value)
        break
      case 'hang_at':
        script.hangAt = checkAt(field, value)
        break
      case 'hang_ms':
        script.hangMs = checkHangMs(value)
        break
      default:
        throw new RejoinError('invalid_prompt', `scripted prompt: unknown field \`${field.slice(0, 100)}\``)
    }
  }
  return script
}

/** The text that holds the script: the prompt itself, or the last user message of a chat. */
export const promptText = (prompt: Prompt): string => {
  if (prompt.type !== 'chat') return prompt.text
  const message = prompt.messages.findLast(({ role }) => role === 'user')
  if (!message) throw new RejoinError('invalid_prompt', 'scripted prompt: `messages` has no user message')
  return message.content
}

const parseObject = (text: string): object => {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw refuse('the prompt must be a JSON object', text)
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw refuse('the prompt must be a JSON object', value)
  }
  return value
}

const isCount = (value: unknown): value is number =>
  typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= MAX_TOKENS

const checkTokens = (value: unknown): number => {
  if (!isCount(value)) throw refuse(`\`tokens\` must be an integer from 0 to ${MAX_TOKENS}`, value)
  return value
}

const checkRate = (value: unknown): number => {
  if (typeof value === 'number' && value >= 0 && value <= MAX_RATE) return value
  throw refuse(`\`rate\` must be a number from 0 to ${MAX_RATE}`, value)
}

const checkHangMs = (value: unknown): number => {
  if (typeof value === 'number' && value >= 0 && value <= MAX_HANG_MS) return value
  throw refuse(`\`hang_ms\` must be a number from 0 to ${MAX_HANG_MS}`, value)
}

const checkAt = (field: string, value: unknown): At => {
  if (value === 'always') return value
  const list: unknown[] = Array.isArray(value) ? value : [value]
  const ascending = list.every((at, i) => i === 0 || (at as number) > (list[i - 1] as number))
  if (list.every(isCount) && ascending) return list
  throw refuse(`\`${field}\` must be a token number, an ascending list of them, or "always"`, value)
}

const refuse = (rule: string, value: unknown): RejoinError =>
  new RejoinError('invalid_prompt', `scripted prompt: ${rule}, got ${(JSON.stringify(value) ?? '').slice(0, 100)}`)

/**
 * The words of a script's tokens, asked for in ascending order: a cursor over the text, so that a whole answer costs
 * one walk over its text however many tokens it has.
 */
export class ScriptWords {
  readonly #script: Script
  readonly #characters: number
  /** Where the slice of token #next begins, in UTF-16 units; every token before it was said or skipped. */
  #offset = 0
  #next = 0

  /** @param first the first token that will be asked for */
  constructor(script: Script, first: number) {
    this.#script = script
    this.#characters = script.text === null ? 0 : countCharacters(script.text)
    if (script.text !== null && first > 0) {
      this.#offset = skipCharacters(script.text, 0, this.#end(Math.min(first, script.tokens) - 1))
    }
    this.#next = first
  }

  /** @param dueUs what a stamp says: monotonic microseconds of this machine, the same clock in every process */
  take(dueUs: number): string {
    const { text, stamp } = this.#script
    const token = this.#next++
    if (text !== null) return this.#slice(text, token)
    return stamp ? `i=${token},t=${Math.floor(dueUs)};` : `w${token} `
  }

  #slice(text: string, token: number): string {
    const from = this.#offset
    this.#offset = skipCharacters(text, from, this.#end(token) - (token > 0 ? this.#end(token - 1) : 0))
    return text.slice(from, this.#offset)
  }

  /** How many characters of the text are said once `token` is: at most 1e6 x the body limit, so exact. */
  #end(token: number): number {
    return Math.floor(((token + 1) * this.#characters) / this.#script.tokens)
  }
}

const countCharacters = (text: string): number => {
  let count = 0
  for (let i = 0; i < text.length; count++) i += unitsAt(text, i)
  return count
}

/** The offset `count` characters (code points) after `from`. */
const skipCharacters = (text: string, from: number, count: number): number => {
  let offset = from
  for (let i = 0; i < count; i++) offset += unitsAt(text, offset)
  return offset
}

const unitsAt = (text: string, offset: number): 1 | 2 => ((text.codePointAt(offset) ?? 0) > 0xffff ? 2 : 1)
