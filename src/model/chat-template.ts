/**
 * Messages to prompt ids, by the chat template that the model was trained with.
 *
 * The template writes special tokens (`<|user|>`, `<|end|>`) as text, and the tokenizer turns them into special ids.
 * A message that contains such text must not get those ids, or whoever wrote it could end its turn and speak as
 * somebody else. So a mark is put between the characters of every special token in a message before the template runs,
 * and what it rendered is encoded in parts, cut at the marks: the same text, but never the special id. Prompts without
 * such text, nearly all, are encoded whole and exactly as Hugging Face would. Not covered: a special token of a single
 * character, and one whose vocabulary normalizes other characters into it.
 */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Template } from '@huggingface/jinja'
import { RejoinError } from '../core/errors.js'
import type { Message } from '../core/task.js'
import { isJson, type Json, readJson, tokenText } from './json-file.js'

export class ChatTemplate {
  readonly #template: Template
  readonly #variables: Record<string, string>
  readonly #specials: RegExp | null

  /**
   * @param source the Jinja text
   * @param variables what the template may name beside the messages: `bos_token`, `eos_token`
   * @param specialTokens texts that a message must not forge
   * @throws Error when the template does not parse
   */
  constructor(source: string, variables: Record<string, string>, specialTokens: readonly string[]) {
    this.#template = new Template(source)
    this.#variables = variables
    this.#specials = anyOf(specialTokens.filter((token) => [...token].length > 1))
  }

  /** From chat_template.jinja or tokenizer_config.json; null for a model without a template. */
  static load(dir: string, specialTokens: readonly string[]): ChatTemplate | null {
    const config = readJson(dir, 'tokenizer_config.json')
    const source = readSource(dir, config)
    if (source === null) return null
    const variables: Record<string, string> = {}
    for (const name of ['bos_token', 'eos_token', 'unk_token', 'pad_token']) {
      const token = tokenText(config[name])
      if (token !== null) variables[name] = token
    }
    try {
      return new ChatTemplate(source, variables, specialTokens)
    } catch (error) {
      throw new Error(`${dir}: the chat template does not parse: ${(error as Error).message}`)
    }
  }

  /**
   * The prompt in parts to be encoded one by one and put together: one part, unless a message has special tokens in it.
   * @throws RejoinError `invalid_prompt` when the template refuses the messages
   */
  render(messages: readonly Message[]): string[] {
    const mark = unusedMark(messages)
    const safe = messages.map(({ role, content }) => ({
      role: this.#part(role, mark),
      content: this.#part(content, mark),
    }))
    let text: string
    try {
      text = this.#template.render({ ...this.#variables, messages: safe, add_generation_prompt: true })
    } catch (error) {
      throw new RejoinError('invalid_prompt', `the model’s chat template: ${(error as Error).message}`)
    }
    return text.split(mark)
  }

  #part(text: string, mark: string): string {
    if (!this.#specials) return text
    let parted = text
    // More than once: a special token can overlap the end of another.
    while (true) {
      const next = parted.replace(this.#specials, (token) => [...token].join(mark))
      if (next === parted) return parted
      parted = next
    }
  }
}

const readSource = (dir: string, config: Json): string | null => {
  const path = join(dir, 'chat_template.jinja')
  if (existsSync(path)) return readFileSync(path, 'utf8')
  const template = config.chat_template
  if (typeof template === 'string') return template
  if (!Array.isArray(template)) return null
  // Several templates by name: tools, rag … and the one for a plain chat.
  const named: unknown[] = template
  const plain = named.filter(isJson).find(({ name }) => name === 'default')
  return typeof plain?.template === 'string' ? plain.template : null
}

const anyOf = (tokens: readonly string[]): RegExp | null => {
  if (tokens.length === 0) return null
  const escaped = tokens.map((token) => token.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&'))
  return new RegExp(escaped.join('|'), 'gu')
}

/** A character that no message has, of the 32 that Unicode keeps free for use inside a program (U+FDD0 … U+FDEF). */
const unusedMark = (messages: readonly Message[]): string => {
  for (let code = 0xfdd0; code <= 0xfdef; code++) {
    const mark = String.fromCharCode(code)
    if (!messages.some(({ role, content }) => content.includes(mark) || role.includes(mark))) return mark
  }
  throw new RejoinError('invalid_prompt', 'the messages use every noncharacter from U+FDD0 to U+FDEF')
}
