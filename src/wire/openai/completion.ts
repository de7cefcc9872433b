/**
 * Answers of `/v1/chat/completions` and `/v1/completions`: whole, and as a stream of chunks that ends with `[DONE]`.
 *
 * The two differ in how a choice looks, which is a `Form`. A chunk is put together from its constant beginning, so that
 * a token costs one `JSON.stringify` of its text.
 */
import type { Entry } from '../../core/entry.js'
import type { TerminalEvent, TokenLogprob } from '../../core/event.js'
import type { Task } from '../../core/task.js'
import type { Framing } from '../framing.js'
import { errorObject } from '../json.js'
import { SSE_NOTHING } from '../sse.js'
import { badEnd, finishReason, usageObject } from './ending.js'
import { type IdPrefix, openaiId } from './ids.js'

type Completed = Extract<TerminalEvent, { type: 'completed' }>

/** Of an answer, or a stretch of it. `at` is the offset of its first token in the text. */
type Said = { logprobs: readonly TokenLogprob[] | null; at: number }

export type Form = {
  id: IdPrefix
  object: string
  chunk: string
  /** The field of a choice that says it, as JSON without braces. */
  whole: (text: string) => string
  delta: (text: string) => string
  /** The choice of the first chunk and of the last one, which say nothing; null: no first chunk. */
  first: string | null
  last: string
  logprobs: (said: Said) => unknown
}

export const CHAT: Form = {
  id: 'chatcmpl-',
  object: 'chat.completion',
  chunk: 'chat.completion.chunk',
  whole: (text) => `"message":{"role":"assistant","content":${JSON.stringify(text)},"refusal":null}`,
  delta: (text) => `"delta":{"content":${JSON.stringify(text)}}`,
  first: '"delta":{"role":"assistant","content":""}',
  last: '"delta":{}',
  logprobs: ({ logprobs }) => ({ content: logprobs, refusal: null }),
}

export const TEXT: Form = {
  id: 'cmpl-',
  object: 'text_completion',
  chunk: 'text_completion',
  whole: (text) => `"text":${JSON.stringify(text)}`,
  delta: (text) => `"text":${JSON.stringify(text)}`,
  first: null,
  last: '"text":""',
  logprobs: ({ logprobs, at }) => textLogprobs(logprobs ?? [], at),
}

/** The JSON of a whole answer. */
export function completionJson(
  form: Form,
  task: Task,
  end: Completed,
  text: string,
  logprobs: readonly TokenLogprob[] | null,
): string {
  const finish = JSON.stringify(finishReason(end.finish_reason))
  const choice = choiceJson(form, form.whole(text), { logprobs, at: 0 }, finish)
  return `${beginning(form.id, form.object, task)}"choices":[${choice}],"usage":${JSON.stringify(usageObject(end.usage))}}`
}

export class CompletionChunks implements Framing {
  readonly opening = SSE_NOTHING
  readonly #form: Form
  readonly #includeUsage: boolean
  readonly #beginning: string
  /** Characters of the tokens that were said. */
  #at = 0

  constructor(form: Form, task: Task, includeUsage: boolean) {
    this.#form = form
    this.#includeUsage = includeUsage
    this.#beginning = `data: ${beginning(form.id, form.chunk, task)}"choices":[`
  }

  frame({ event }: Entry): string {
    const { first, last, delta } = this.#form
    switch (event.type) {
      case 'queued':
        return first === null ? '' : this.#chunk(first, null)
      case 'token':
        return this.#chunk(delta(event.text), { logprobs: event.logprobs ?? null, at: this.#at })
      case 'completed':
        return `${this.#chunk(last, null, finishReason(event.finish_reason))}${this.#usage(event)}${DONE}`
      case 'failed':
      case 'canceled':
        return `data: ${JSON.stringify(errorObject(badEnd(event)))}\n\n${DONE}`
      default:
        return ''
    }
  }

  #chunk(field: string, said: Said | null, finish: string | null = null): string {
    for (const { token } of said?.logprobs ?? []) this.#at += token.length
    const usage = this.#includeUsage ? ',"usage":null' : ''
    return `${this.#beginning}${choiceJson(this.#form, field, said, JSON.stringify(finish))}]${usage}}\n\n`
  }

  #usage({ usage }: Completed): string {
    if (!this.#includeUsage) return ''
    return `${this.#beginning}],"usage":${JSON.stringify(usageObject(usage))}}\n\n`
  }
}

/** Tells a stock client that the stream is whole. */
export const DONE = 'data: [DONE]\n\n'

const beginning = (prefix: IdPrefix, object: string, { id, createdAt, model }: Task): string =>
  `{"id":"${openaiId(prefix, id)}","object":"${object}","created":${Math.floor(createdAt / 1000)},"model":${JSON.stringify(model)},`

function choiceJson({ logprobs }: Form, field: string, said: Said | null, finish: string): string {
  const told = said?.logprobs ? JSON.stringify(logprobs(said)) : 'null'
  return `{"index":0,${field},"logprobs":${told},"finish_reason":${finish}}`
}

/** The older shape: one list for each property. */
function textLogprobs(logprobs: readonly TokenLogprob[], at: number): Record<string, unknown> {
  let offset = at
  return {
    tokens: logprobs.map(({ token }) => token),
    token_logprobs: logprobs.map(({ logprob }) => logprob),
    top_logprobs: logprobs.map(({ top_logprobs }) =>
      Object.fromEntries(top_logprobs.map(({ token, logprob }) => [token, logprob])),
    ),
    text_offset: logprobs.map(({ token }) => {
      offset += token.length
      return offset - token.length
    }),
  }
}
