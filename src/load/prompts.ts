/**
 * What a load test asks, request by request.
 */
import type { LoadOptions } from './options.js'

const SCRIPT = '{"tokens":200,"rate":50,"stamp":true}'
const WHO = [
  'a fox',
  'a dog',
  'an owl',
  'a small boat',
  'a lighthouse keeper',
  'two sisters',
  'a clockmaker',
  'the last train',
]
const WHAT = [
  'who lost a kite',
  'and a red ball',
  'that could not sleep',
  'made of paper',
  'in the first snow',
  'and an old map',
  'who forgot a word',
]

/** The body of each request. Prompts differ, so that no cache of beginnings makes the server faster than it is. */
export function requests(options: LoadOptions): (number: number) => Record<string, unknown> {
  const { protocol, model, prompt, 'max-tokens': maxTokens } = options
  const named = model === '' ? {} : { model }
  const text = (number: number): string => {
    if (prompt !== '') return prompt
    if (model === 'scripted') return SCRIPT
    return `Tell me a story about ${WHO[number % WHO.length]} ${WHAT[number % WHAT.length]}.`
  }
  if (protocol !== 'openai') return (number) => ({ ...named, prompt: text(number), max_tokens: maxTokens })
  return (number) => ({
    // The protocol wants one; most servers take any name where they have one model.
    model: 'default',
    ...named,
    messages: [{ role: 'user', content: text(number) }],
    max_tokens: maxTokens,
    stream: true,
  })
}
