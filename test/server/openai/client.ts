/**
 * The unmodified client of OpenAI before a gateway of a test, and its own words for the scripted model.
 */
import type { TestContext } from 'node:test'
import OpenAI from 'openai'
import type { APIError } from 'openai/error'
import type { Config, Running } from '../../../src/index.js'
import { startGateway } from '../harness.js'

export type Client = { running: Running; openai: OpenAI }

export async function startClient(t: TestContext, config: Partial<Config> = {}): Promise<Client> {
  const running = await startGateway(t, config)
  return { running, openai: clientOf(running) }
}

/** It does not try again: what the gateway answers is what the test sees. */
export const clientOf = ({ url }: { url: string }, maxRetries = 0): OpenAI =>
  new OpenAI({ baseURL: `${url}/v1`, apiKey: 'any', maxRetries })

/** A conversation whose last turn the scripted model understands. */
export const chat = (script: object): { role: 'user'; content: string }[] => [
  { role: 'user', content: JSON.stringify(script) },
]

/** What a call is refused with. */
export async function refusal(call: PromiseLike<unknown>): Promise<APIError> {
  try {
    await call
  } catch (error) {
    if (error instanceof OpenAI.APIError) return error
    throw error
  }
  throw new Error('it was not refused')
}

export const HELLO = { text: 'Hello, wörld 👋!', tokens: 6 }
export const ENDLESS = { tokens: 1_000_000, rate: 200 }
