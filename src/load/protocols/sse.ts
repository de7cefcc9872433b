/**
 * Answers over server-sent events: asked for and followed with one request, resumed with `Last-Event-ID`.
 */
import type { Answer } from '../answer.js'
import { backOff } from '../client.js'
import type { Outcome, Request } from '../http.js'
import { SseScanner } from '../sse-scanner.js'
import { HttpClient } from './http-client.js'

const SSE = { Accept: 'text/event-stream' }

export class SseClient extends HttpClient {
  protected async read(answer: Answer, signal: AbortSignal): Promise<void> {
    const { measure, random } = this.setting
    const asking = this.asking(SSE)
    for (let tries = 0; answer.end === null && !signal.aborted; ) {
      const before = answer.position
      const { outcome, text } = await this.#ask(answer, answer.id === null ? asking : resuming(answer))
      if (answer.end !== null || signal.aborted) break
      if (outcome.type === 'whole' && outcome.status !== 200) {
        if (await this.mayRetry(outcome, text, tries++, signal)) continue
        break
      }
      if (outcome.type === 'whole') measure.error('ended_early')
      else if (outcome.reason !== null) measure.error(outcome.reason)
      measure.resumes++
      tries = answer.position > before ? 0 : tries + 1
      if (tries > 1) await backOff(tries, random, signal)
    }
  }

  async #ask(answer: Answer, request: Request): Promise<{ outcome: Outcome; text: string }> {
    const { measure } = this.setting
    const scanner = new SseScanner((data) => answer.event(data))
    const from = performance.now()
    let resumed = request.method === 'GET'
    let stream = false
    let text = ''
    const outcome = await this.http.request(request, {
      head: (status, headers) => {
        stream = status === 200
        answer.id ??= headers.get('location')?.split('/').at(-1) ?? null
      },
      body: (bytes) => {
        measure.bytes += bytes.length
        if (!stream) text += bytes.toString('latin1')
        else scanner.take(bytes)
        if (stream && resumed) measure.time('resume', performance.now() - from)
        resumed = false
      },
    })
    return { outcome, text }
  }
}

const resuming = ({ id, position }: Answer): Request => ({
  method: 'GET',
  path: `/v1/tasks/${id}/events`,
  headers: { ...SSE, 'Last-Event-ID': String(position) },
})
