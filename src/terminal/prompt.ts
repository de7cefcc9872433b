/**
 * What is asked: the words of the command line, or what comes in by a pipe.
 */
import type { TaskRequest } from '../client/index.js'
import { ConfigError } from '../core/options.js'

/** @throws ConfigError when there is none */
export async function readPrompt(word: string | undefined, stdin: NodeJS.ReadStream): Promise<string> {
  if (word !== undefined && word !== '-') return word
  if (stdin.isTTY) throw new ConfigError('PROMPT is missing: what to ask')
  let text = ''
  for await (const chunk of stdin.setEncoding('utf8')) text += chunk
  if (text.trim() === '') throw new ConfigError('PROMPT is missing: nothing came by stdin')
  return text
}

export type Asked = { model: string; system: string; 'max-tokens': number; temperature: string }

/** @throws ConfigError */
export function taskRequest(prompt: string, { model, system, temperature, ...asked }: Asked): TaskRequest {
  const maxTokens = asked['max-tokens']
  return {
    ...(system === ''
      ? { prompt }
      : {
          messages: [
            { role: 'system', content: system },
            { role: 'user', content: prompt },
          ],
        }),
    ...(model === '' ? {} : { model }),
    ...(maxTokens === 0 ? {} : { max_tokens: maxTokens }),
    ...(temperature === '' ? {} : { temperature: numberOf(temperature) }),
  }
}

function numberOf(text: string): number {
  if (/^\d+(\.\d+)?$/.test(text)) return Number(text)
  throw new ConfigError(`--temperature must be a number from 0, got ${JSON.stringify(text)}`)
}
