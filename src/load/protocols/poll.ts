/**
 * Answers over long poll, for networks that let neither streams nor WebSockets through: pages of events, one request each.
 */
import type { Answer, PlainEvent } from '../answer.js'
import { backOff } from '../client.js'
import type { Outcome, Request } from '../http.js'
import { HttpClient } from './http-client.js'

const WAIT_S = 25

type Page = { events: PlainEvent[] }

export class PollClient extends HttpClient {
  protected async read(answer: Answer, signal: AbortSignal): Promise<void> {
    const { measure, random } = this.setting
    const asking = this.asking({})
    let lostAt = 0
    for (let tries = 0; answer.end === null && !signal.aborted; ) {
      const { outcome, text } = await this.#ask(answer.id === null ? asking : page(answer))
      if (signal.aborted) break
      if (outcome.type === 'lost') {
        if (outcome.reason !== null) measure.error(outcome.reason)
        lostAt ||= performance.now()
        measure.resumes++
        if (tries++ > 0) await backOff(tries, random, signal)
      } else if (outcome.status >= 300) {
        if (!(await this.mayRetry(outcome, text, tries++, signal))) break
      } else {
        if (lostAt > 0) measure.time('resume', performance.now() - lostAt)
        lostAt = 0
        tries = 0
        if (answer.id === null) answer.id = (JSON.parse(text) as { id: string }).id
        else for (const event of (JSON.parse(text) as Page).events) answer.plain(event)
      }
    }
  }

  async #ask(request: Request): Promise<{ outcome: Outcome; text: string }> {
    const parts: Buffer[] = []
    const outcome = await this.http.request(request, { body: (bytes) => parts.push(Buffer.from(bytes)) })
    const whole = Buffer.concat(parts)
    this.setting.measure.bytes += whole.length
    return { outcome, text: whole.toString() }
  }
}

const page = ({ id, position }: Answer): Request => ({
  method: 'GET',
  path: `/v1/tasks/${id}/events?after=${position}&limit=1000&wait=${WAIT_S}`,
})
