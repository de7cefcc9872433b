/**
 * Requests as a client makes them that may be cut at any moment: by itself, by the gateway's death, or by the run's end.
 *
 * One connection each, so that a cut meets one request. Null is "no whole answer came", whatever the reason was.
 */
import { type IncomingMessage, request } from 'node:http'

export type Ask = {
  method?: 'GET' | 'POST' | 'DELETE'
  path: string
  headers?: Record<string, string>
  body?: string
}

export type Answer = { status: number; location: string | undefined; replay: boolean; text: string }

/** A whole answer takes no longer, or none is coming: far over the longest wait that we ask for. */
const PATIENCE_MS = 45_000

/** The answer's head; null when the connection was lost before it came. */
export function open(port: number, ask: Ask, signal: AbortSignal): Promise<IncomingMessage | null> {
  const { method = 'GET', path, headers = {}, body } = ask
  return new Promise((resolve) => {
    if (signal.aborted) return resolve(null)
    const options = { host: '127.0.0.1', port, method, path, headers, agent: false, signal }
    const sent = request(options, (response) => {
      // A cut in the body is for whoever reads it; one that comes before somebody does must not throw.
      response.on('error', () => {})
      resolve(response)
    })
    // Also after the answer began: then this resolves nothing.
    sent.on('error', () => resolve(null))
    sent.end(body)
  })
}

/** The whole answer. `cutAfterMs`: hangs up then, if it has not come. */
export async function ask(
  port: number,
  what: Ask,
  signal: AbortSignal,
  cutAfterMs: number | null = null,
): Promise<Answer | null> {
  const cut = new AbortController()
  const stop = (): void => cut.abort()
  const timer = setTimeout(stop, cutAfterMs ?? PATIENCE_MS)
  signal.addEventListener('abort', stop, { once: true })
  try {
    if (signal.aborted) return null
    const response = await open(port, what, cut.signal)
    return response && (await answerOf(response))
  } finally {
    clearTimeout(timer)
    signal.removeEventListener('abort', stop)
  }
}

export async function answerOf(response: IncomingMessage): Promise<Answer | null> {
  const chunks: Buffer[] = []
  try {
    for await (const chunk of response) chunks.push(chunk as Buffer)
  } catch {
    return null
  }
  const { statusCode = 0, headers } = response
  const text = Buffer.concat(chunks).toString()
  return { status: statusCode, location: headers.location, replay: headers['idempotent-replay'] === 'true', text }
}

/** The code of an error body; the body's beginning when it is none. */
export function codeOf(text: string): string {
  try {
    return (JSON.parse(text) as { error: { code: string } }).error.code
  } catch {
    return `no error object: ${text.slice(0, 100)}`
  }
}
