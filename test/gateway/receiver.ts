/** A server that gets webhooks, and answers as a test tells it. */
import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { TestContext } from 'node:test'

export type Call = { headers: IncomingHttpHeaders; body: string; path: string }

export type Receiver = { url: string; calls: Call[] }

/** Closed when the test ends. */
export async function receiver(
  t: TestContext,
  answer: (response: ServerResponse, call: Call) => void,
): Promise<Receiver> {
  const calls: Call[] = []
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const call = { headers: request.headers, body: Buffer.concat(chunks).toString(), path: request.url ?? '' }
      calls.push(call)
      answer(response, call)
    })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    server.close()
    server.closeAllConnections()
  })
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook`, calls }
}

export const ok = (response: ServerResponse): void => void response.writeHead(204).end()
