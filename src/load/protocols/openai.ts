/**
 * Answers of any server with OpenAI's chat completions, streamed. There are no positions in this protocol: what is lost
 * cannot be seen, but a stream that ends without `[DONE]` is an error.
 */
import type { Answer } from '../answer.js'
import { firstStamp } from '../event-bytes.js'
import { SseScanner } from '../sse-scanner.js'
import { HttpClient } from './http-client.js'

const DONE = Buffer.from('[DONE]')
const CONTENT = Buffer.from('"content":')
const FINISH = /"finish_reason"\s*:\s*"(\w+)"/
const ERROR = Buffer.from('"error":')
const [SPACE, QUOTE] = [0x20, 0x22]

export class OpenAiClient extends HttpClient {
  protected async read(answer: Answer, signal: AbortSignal): Promise<void> {
    const { measure, body, url } = this.setting
    const request = {
      method: 'POST',
      path: `${url.pathname.replace(/\/(v1\/?)?$/, '')}/v1/chat/completions`,
      headers: { Accept: 'text/event-stream' },
      body: JSON.stringify(body(measure.begun)),
    }
    for (let tries = 0; answer.end === null && !signal.aborted; ) {
      const stream = new Completion(answer)
      let status = 0
      let text = ''
      const outcome = await this.http.request(request, {
        head: (given) => {
          status = given
        },
        body: (bytes) => {
          measure.bytes += bytes.length
          if (status === 200) stream.scanner.take(bytes)
          else text += bytes.toString('latin1')
        },
      })
      if (answer.end !== null || signal.aborted) break
      if (outcome.type === 'whole' && outcome.status !== 200) {
        if (await this.mayRetry(outcome, text, tries++, signal)) continue
        break
      }
      // Some of it has come, and nothing brings the rest.
      const lost = outcome.type === 'lost' ? outcome.reason : null
      measure.error(stream.error ?? lost ?? 'ended_early')
      break
    }
  }
}

class Completion {
  readonly scanner = new SseScanner((data) => this.#chunk(data))
  readonly #answer: Answer
  error: string | null = null
  #finish: string | null = null

  constructor(answer: Answer) {
    this.#answer = answer
  }

  #chunk(data: Buffer): void {
    if (data.equals(DONE)) {
      // A server that failed may say it and then end in order.
      if (this.error === null) this.#answer.finish(this.#finish ?? 'done')
      return
    }
    if (hasContent(data)) this.#answer.token(1, firstStamp(data))
    else if (data.includes(ERROR)) this.error = 'error_in_stream'
    else this.#finish ??= FINISH.exec(data.toString('latin1'))?.[1] ?? null
  }
}

/** A content of no characters, or null, is the first chunk, with the role, or the last. */
function hasContent(data: Buffer): boolean {
  const key = data.indexOf(CONTENT)
  if (key < 0) return false
  let at = key + CONTENT.length
  while (data[at] === SPACE) at++
  return data[at] === QUOTE && data[at + 1] !== QUOTE
}
