/**
 * Requests to the gateway, and what its answers mean: go on, come back later, or never.
 */
import { RejoinError } from './errors.js'

export type KeySource = string | (() => string | undefined | Promise<string | undefined>) | undefined

export type Fetch = (url: string, init: RequestInit) => Promise<Response>

export type Answer =
  | { type: 'ok'; response: Response }
  /** It can be another answer later; `afterMs` when the gateway said when. */
  | { type: 'later'; reason: string; afterMs?: number }
  | { type: 'unreachable'; reason: string }
  | { type: 'refused'; error: RejoinError }

/** `ticket`: null where none is needed. */
export type Ticket = { type: 'ticket'; ticket: string | null } | Exclude<Answer, { type: 'ok' }>

/** Statuses that say nothing of the request itself. */
const PASSING = [408, 425, 429]

export class Http {
  /** Without a slash at its end. */
  readonly url: string
  readonly #key: KeySource
  readonly #fetch: Fetch

  constructor(url: string, key: KeySource, fetch: Fetch) {
    this.url = url.replace(/\/+$/, '')
    this.#key = key
    this.#fetch = fetch
  }

  /** Never throws. An abort is `unreachable`. */
  async ask(path: string, init: RequestInit): Promise<Answer> {
    let response: Response
    try {
      const headers = new Headers(init.headers)
      const key = await this.#currentKey()
      if (key) headers.set('Authorization', `Bearer ${key}`)
      response = await this.#fetch(`${this.url}${path}`, { ...init, headers })
    } catch (error) {
      return { type: 'unreachable', reason: reasonOf(error) }
    }
    return response.ok ? { type: 'ok', response } : refusalOf(response)
  }

  /** What proves to a WebSocket who is calling, since a browser cannot send the key there; null when none is needed. */
  async ticket(signal: AbortSignal): Promise<Ticket> {
    try {
      if (!(await this.#currentKey())) return { type: 'ticket', ticket: null }
    } catch (error) {
      return { type: 'unreachable', reason: reasonOf(error) }
    }
    const answer = await this.ask('/v1/tickets', { method: 'POST', signal })
    // A gateway without keys has no tickets either.
    if (answer.type === 'refused' && answer.error.status === 404) return { type: 'ticket', ticket: null }
    if (answer.type !== 'ok') return answer
    try {
      const { ticket } = (await answer.response.json()) as { ticket: string }
      return { type: 'ticket', ticket }
    } catch (error) {
      return { type: 'unreachable', reason: reasonOf(error) }
    }
  }

  async #currentKey(): Promise<string | undefined> {
    return typeof this.#key === 'function' ? this.#key() : this.#key
  }
}

/** Why a request found nobody. */
export function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  // Node tells the reason of a failed fetch in its cause.
  return error.cause instanceof Error ? error.cause.message || error.message : error.message
}

async function refusalOf(response: Response): Promise<Answer> {
  const { status, headers } = response
  const { code, message, param } = await errorOf(response)
  const advice = headers.get('x-should-retry')
  const later = advice === null ? PASSING.includes(status) || status === 409 || status >= 500 : advice === 'true'
  if (!later) return { type: 'refused', error: new RejoinError(code, message, status, param) }
  const afterMs = retryAfterMs(headers.get('retry-after'))
  return { type: 'later', reason: `HTTP ${status} ${code}`, ...(afterMs === null ? {} : { afterMs }) }
}

/** Of a proxy's answer, too, which has another form. */
async function errorOf(response: Response): Promise<{ code: string; message: string; param: string | null }> {
  const code = `http_${response.status}`
  try {
    const { error } = (await response.json()) as { error: { code?: string; message?: string; param?: string | null } }
    return { code: error.code ?? code, message: error.message ?? code, param: error.param ?? null }
  } catch {
    return { code, message: `the answer was HTTP ${response.status}`, param: null }
  }
}

/** RFC 9110, section 10.2.3: seconds, or a date. */
function retryAfterMs(text: string | null): number | null {
  if (text === null) return null
  const ms = /^\d+$/.test(text) ? Number(text) * 1000 : Date.parse(text) - Date.now()
  return Number.isFinite(ms) ? Math.max(0, ms) : null
}
