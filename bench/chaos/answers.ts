/**
 * What tasks are asked to say, and what is known of it before: all of the text with the scripted model, nothing with the
 * embedded one.
 */
import { type Random, sharpText } from '../../test/server/random.js'
import type { Expected } from './ledger.js'
import { type Setup, spanOf } from './setup.js'

export type Answer = {
  request: Record<string, unknown>
  expected: Omit<Expected, 'deadlineMs'>
  prompt?: number
  /** Nothing is said while nobody reads. */
  pausing?: boolean
}

export function planScript(setup: Setup, random: Random): Answer {
  const spanMs = spanOf(setup)
  const rate = random.between(50, 200)
  const tokens = Math.round((rate * random.between(spanMs >> 2, spanMs)) / 1000)
  switch (
    random.pick([
      'steady',
      'steady',
      'steady',
      'steady',
      'steady',
      'steady',
      'burst',
      'wide',
      'slow',
      'short',
      'crash',
      'cut',
      'pause',
      'bad',
    ] as const)
  ) {
    case 'steady':
      return script({ tokens, rate, text: sharpText(random, tokens) })
    case 'burst':
      return script({ tokens: random.between(500, 6000), rate: 0 })
    case 'wide':
      // Enough that a reader who does not read fills its socket.
      return script({ tokens: 100, rate: random.pick([0, 50]), text: sharpText(random, 30_000) })
    case 'slow':
      return script({ tokens: random.between(2, 12), rate: 12_000 / spanMs, text: sharpText(random, 50) })
    case 'short':
      return script({ tokens: random.between(0, 3), rate: 0 })
    case 'crash': {
      const first = random.between(0, tokens)
      const crashAt = random.chance(0.5) ? first : [first, first + random.between(1, 50)]
      return script({ tokens, rate, text: sharpText(random, tokens), crash_at: crashAt })
    }
    case 'cut':
      return script({ tokens: 2 * tokens, rate }, tokens)
    case 'pause': {
      const answer = script({ tokens, rate, text: sharpText(random, tokens) })
      return { ...answer, request: { ...answer.request, on_disconnect: 'pause' }, pausing: true }
    }
    case 'bad':
      return {
        request: { prompt: '{"tokenz": 5}' },
        expected: { text: '', finish: null, fails: 'invalid_prompt' },
      }
  }
}

type Script = { tokens: number; rate: number; text?: string; crash_at?: number | number[] }

/** Says the script, or its first `maxTokens` words. */
function script(what: Script, maxTokens?: number): Answer {
  const { tokens, text } = what
  const words = Array.from({ length: maxTokens ?? tokens }, (_, i) => `w${i} `).join('')
  return {
    request: { prompt: JSON.stringify(what), ...(maxTokens === undefined ? {} : { max_tokens: maxTokens }) },
    expected: {
      // A text without a token to say it in is not said.
      text: tokens === 0 ? '' : (text ?? words),
      finish: maxTokens === undefined ? 'stop' : 'length',
      fails: null,
    },
  }
}

/** How many different answers the embedded model gives in a run: each is made once undisturbed, to compare with. */
const PROMPTS = 24
const ABOUT = ['a fox who lost a kite', 'a dog and a red ball', 'an owl that could not sleep', 'a boat made of paper']

/** All requests that `planTask` may choose for the embedded model. */
export const prompts = (): Record<string, unknown>[] => Array.from({ length: PROMPTS }, (_, i) => promptRequest(i))

export function planPrompt(random: Random): Answer {
  const prompt = random.between(0, PROMPTS - 1)
  return { prompt, request: promptRequest(prompt), expected: { text: null, finish: null, fails: null } }
}

const promptRequest = (which: number): Record<string, unknown> => ({
  prompt: `Tell me a story about ${ABOUT[which % ABOUT.length]}.`,
  max_tokens: 100 + ((which * 37) % 250),
  ...(which % 2 === 0 ? { temperature: 0 } : { temperature: 0.8, seed: which }),
  // Id 0 is the end of the text: so the answers are long enough to be killed in.
  logit_bias: { 0: -100 },
})
