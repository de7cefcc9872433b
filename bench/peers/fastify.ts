/**
 * Fastify with server-sent events, as its users write them: the reply is taken over, and each token written to the response.
 *
 * A response whose buffer is full is left alone until it says `drain`.
 */
import type { AddressInfo } from 'node:net'
import fastify from 'fastify'
import { newTaskId } from '../../src/core/id.js'
import { completedEvent, SSE_RETRY, sseFrame, tokenEvent } from './event.js'
import { type Submit, sayReady, scriptOf } from './request.js'
import { Ticker } from './ticker.js'

const ticker = new Ticker()
const app = fastify()

app.post<{ Body: Submit }>('/v1/tasks', (request, reply) => {
  const task = newTaskId()
  reply.hijack()
  const response = reply.raw
  response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' })
  response.write(SSE_RETRY)
  const stream = ticker.start(scriptOf(request.body.prompt), {
    token: (seq, text) => response.write(sseFrame(tokenEvent(task, seq, text))),
    end: (seq) => response.end(sseFrame(completedEvent(task, seq))),
  })
  response.on('drain', () => stream.resume())
  response.on('close', () => stream.stop())
})

await app.listen({ port: 0, host: '127.0.0.1' })
sayReady((app.server.address() as AddressInfo).port)
