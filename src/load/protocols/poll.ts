/**
 * Answers over long poll, for networks that let neither streams nor WebSockets through: pages of events, one request each.
 */
import { randomUUID } from 'node:crypto'
import type { Answer } from '../answer.js'
import { backOff, type Client, cancel, refusal, type Setting } from '../client.js'
import { firstStamp } from '../event-bytes.js'
import { Http, type Outcome, type Request } from '../http.js'

const WAIT_S = 25

type Page = { events: { seq: number; from?: number; type: string; tokens?: number; text?: string }[] }

export class PollClient implements Client {
  readonly #setting: Setting
  readonly #http: Http

  constructor(setting: Setting) {
    this.#setting = setting
    this.#http = new Http(setting.url, setting.headers, setting.slow)
  }

  async follow(answer: Answer, signal: AbortSignal): Promise<void> {
    const { measure, random, body } = this.#setting
    const asking: Request = {
      method: 'POST',
      path: '/v1/tasks',
      headers: { 'Idempotency-Key': randomUUID() },
      body: JSON.stringify(body(measure.begun)),
    }
    const stop = (): boolean => this.#http.cut()
    signal.addEventListener('abort', stop)
    let lostAt = 0
    for (let tries = 0; answer.end === null && !signal.aborted; ) {
      const { outcome, text } = await this.#read(answer.id === null ? asking : page(answer))
      if (signal.aborted) break
      if (outcome.type === 'lost') {
        if (outcome.reason !== null) measure.error(outcome.reason)
        lostAt ||= performance.now()
        measure.resumes++
        if (tries++ > 0) await backOff(tries, random, signal)
      } else if (outcome.status >= 300) {
        const { code, retry, retryAfterS } = refusal(outcome.status, outcome.headers, text)
        measure.error(code)
        if (!retry) break
        await backOff(tries++, random, signal, retryAfterS)
      } else {
        if (lostAt > 0) measure.time('resume', performance.now() - lostAt)
        lostAt = 0
        tries = 0
        if (answer.id === null) answer.id = (JSON.parse(text) as { id: string }).id
        else take(answer, JSON.parse(text) as Page)
      }
    }
    signal.removeEventListener('abort', stop)
    if (answer.end === null && answer.id !== null && signal.aborted) await cancel(this.#http, answer.id)
  }

  cut(): boolean {
    return this.#http.cut()
  }

  close(): void {
    this.#http.close()
  }

  async #read(request: Request): Promise<{ outcome: Outcome; text: string }> {
    const parts: Buffer[] = []
    const outcome = await this.#http.request(request, { body: (bytes) => parts.push(Buffer.from(bytes)) })
    const whole = Buffer.concat(parts)
    this.#setting.measure.bytes += whole.length
    return { outcome, text: whole.toString() }
  }
}

const page = ({ id, position }: Answer): Request => ({
  method: 'GET',
  path: `/v1/tasks/${id}/events?after=${position}&limit=1000&wait=${WAIT_S}`,
})

function take(answer: Answer, { events }: Page): void {
  for (const { seq, from = seq, type, tokens = 0, text = '' } of events) {
    answer.take(from, seq, type, tokens, type === 'token' ? firstStamp(Buffer.from(text)) : 0)
  }
}
