/**
 * What the clients over HTTP have in common: one connection, which is cut when the run is over, and an end for a task that
 * nobody follows any more.
 */
import { randomUUID } from 'node:crypto'
import type { Answer } from '../answer.js'
import { backOff, type Client, cancel, refusal, type Setting } from '../client.js'
import { Http, type Outcome, type Request } from '../http.js'

type Whole = Extract<Outcome, { type: 'whole' }>

export abstract class HttpClient implements Client {
  protected readonly setting: Setting
  protected readonly http: Http

  constructor(setting: Setting) {
    this.setting = setting
    this.http = new Http(setting.url, setting.headers, setting.slow)
  }

  async follow(answer: Answer, signal: AbortSignal): Promise<void> {
    const stop = (): boolean => this.http.cut()
    signal.addEventListener('abort', stop)
    await this.read(answer, signal)
    signal.removeEventListener('abort', stop)
    if (answer.end === null && answer.id !== null && signal.aborted) await cancel(this.http, answer.id)
  }

  cut(): boolean {
    return this.http.cut()
  }

  close(): void {
    this.http.close()
  }

  /** To the answer's end, or until it is given up or the signal comes. */
  protected abstract read(answer: Answer, signal: AbortSignal): Promise<void>

  /** Counts a refusal; false when the same request would be refused again, else the next try is due. */
  protected async mayRetry(refused: Whole, text: string, tries: number, signal: AbortSignal): Promise<boolean> {
    const { measure, random } = this.setting
    const { code, retry, retryAfterS } = refusal(refused.status, refused.headers, text)
    measure.error(code)
    if (retry) await backOff(tries, random, signal, retryAfterS)
    return retry
  }

  /** The request that makes the task, however often it has to be sent. */
  protected asking(headers: Record<string, string>): Request {
    const { measure, body } = this.setting
    return {
      method: 'POST',
      path: '/v1/tasks',
      headers: { ...headers, 'Idempotency-Key': randomUUID() },
      body: JSON.stringify(body(measure.begun)),
    }
  }
}
