/**
 * What every protocol's client does in its own way, and what is the same for all.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Answer } from './answer.js'
import type { Http } from './http.js'
import type { Measure } from './measure.js'
import type { Random } from './random.js'

export interface Client {
  /** Asks, and follows the answer to its end, or until it is given up or `signal` ends it. Never rejects. */
  follow(answer: Answer, signal: AbortSignal): Promise<void>
  /** Breaks its connection, as a bad network does; false when nothing was under way on it. */
  cut(): boolean
  close(): void
}

/** What a client is made with. */
export type Setting = {
  url: URL
  headers: Record<string, string>
  /** The task request, or the body of a chat completion. */
  body: (number: number) => Record<string, unknown>
  measure: Measure
  random: Random
  slow: boolean
}

const BACKOFF_MS = { first: 50, max: 5000 }
/** For the ends of tasks that nobody will follow. */
const CANCEL_MS = 3000

/** Until the next attempt, after so many that failed in a row, or as long as the server asked for. */
export async function backOff(tries: number, random: Random, signal: AbortSignal, retryAfterS = 0): Promise<void> {
  const ms = Math.min(BACKOFF_MS.max, BACKOFF_MS.first * 2 ** tries) * (0.5 + random.next() / 2)
  await sleep(Math.max(ms, retryAfterS * 1000), undefined, { signal }).catch(() => {})
}

/** The code of a refusal, and whether it may be different the next time. */
export function refusal(status: number, headers: ReadonlyMap<string, string>, body: string): Refusal {
  let code: unknown
  try {
    const { error } = JSON.parse(body) as { error?: { code?: unknown; type?: unknown } }
    code = error?.code ?? error?.type
  } catch {}
  return {
    code: typeof code === 'string' ? code : `http_${status}`,
    retry: status === 429 || status >= 500,
    retryAfterS: Number(headers.get('retry-after') ?? 0) || 0,
  }
}

export type Refusal = { code: string; retry: boolean; retryAfterS: number }

/** The run is over, and its task is not: it must not go on for nobody. */
export async function cancel(http: Http, id: string): Promise<void> {
  http.cut()
  const request = http.request({ method: 'DELETE', path: `/v1/tasks/${id}` }, { body: () => {} })
  await Promise.race([request, sleep(CANCEL_MS, undefined, { ref: false })])
}
