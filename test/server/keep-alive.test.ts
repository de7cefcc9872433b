/**
 * What an SSE answer is made of (PROTOCOL section 5), byte by byte.
 */
import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { type TestContext, test } from 'node:test'
import { scripted, startGateway, submit } from './harness.js'
import { request } from './paths.js'

/** The answer as text, from its status line on, each time that something was added to it; the socket ends with the test. */
function raw(t: TestContext, url: string, path: string, enough: (answer: string) => boolean): Promise<string> {
  const socket = connect(Number(new URL(url).port), '127.0.0.1')
  t.after(() => socket.destroy())
  socket.write(`GET ${path} HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\nAccept-Encoding: gzip, br\r\n\r\n`)
  let answer = ''
  return new Promise((resolve, reject) => {
    socket.on('error', reject)
    socket.on('close', () => reject(new Error(`closed after ${JSON.stringify(answer)}`)))
    socket.on('data', (chunk) => {
      answer += chunk
      if (enough(answer)) resolve(answer)
    })
  })
}

/** The body of a chunked answer; what is not whole yet is left out. */
function unchunked(answer: string): string {
  let body = ''
  let at = answer.indexOf('\r\n\r\n') + 4
  while (true) {
    const line = answer.indexOf('\r\n', at)
    const size = Number.parseInt(answer.slice(at, line), 16)
    if (line < 0 || !(size > 0)) return body
    body += answer.slice(line + 2, line + 2 + size)
    at = line + 2 + size + 2
  }
}

const count = (text: string, part: string): number => text.split(part).length - 1

test('an SSE answer has exactly the headers that keep proxies from holding it back', async (t) => {
  const { url } = await startGateway(t)
  const task = await submit(url, scripted({ tokens: 1 }))

  const response = await request(`${url}/v1/tasks/${task.id}/events`, {
    accept: 'text/event-stream',
    'accept-encoding': 'gzip, br',
    'x-request-id': 'mine-1',
  })
  response?.destroy()

  const { date, uwebsockets, ...headers } = response?.headers ?? {}
  assert.equal(response?.statusCode, 200)
  assert.deepEqual(headers, {
    'content-type': 'text/event-stream',
    'cache-control': 'no-store, no-transform',
    'x-accel-buffering': 'no',
    'x-request-id': 'mine-1',
    'transfer-encoding': 'chunked',
  })
})

test('an SSE answer begins with a jittered `retry:`, then one block of id, event and data for each event', async (t) => {
  const { url } = await startGateway(t)
  const task = await submit(url, scripted({ tokens: 2, rate: 20, text: 'a\nb' }))

  const answer = await raw(t, url, `/v1/tasks/${task.id}/events`, (answer) => answer.endsWith('\r\n0\r\n\r\n'))

  const [retry, ...blocks] = unchunked(answer).split('\n\n')
  const ms = Number(/^retry: (\d+)$/.exec(retry ?? '')?.[1])
  assert.ok(ms >= 750 && ms <= 1250, retry)
  assert.equal(blocks.pop(), '')
  for (const [index, block] of blocks.entries()) {
    const [id, event, data, ...rest] = block.split('\n')
    const said = JSON.parse(data?.replace(/^data: /, '') ?? '') as { seq: number; type: string }
    assert.deepEqual([id, event, rest], [`id: ${index + 1}`, `event: ${said.type}`, []])
    assert.equal(said.seq, index + 1)
  }
  assert.ok(blocks.length >= 5)
})

test('two answers tell two clients different times to come back', async (t) => {
  const { url } = await startGateway(t)
  const task = await submit(url, scripted({ tokens: 1 }))

  const retries = await Promise.all(
    Array.from({ length: 10 }, async () => {
      const answer = await raw(t, url, `/v1/tasks/${task.id}/events`, (answer) => answer.includes('retry: '))
      return /retry: \d+/.exec(answer)?.[0]
    }),
  )

  assert.ok(new Set(retries).size > 1, String(retries))
})

test('an idle SSE stream stays open and gets a comment in every period', async (t) => {
  const { url } = await startGateway(t, { 'keep-alive-ms': 100 })
  const task = await submit(url, scripted({ tokens: 2, rate: 0.01 }))
  const began = Date.now()

  const answer = await raw(t, url, `/v1/tasks/${task.id}/events`, (answer) => count(answer, ': keep-alive\n\n') >= 10)
  const took = Date.now() - began

  assert.ok(unchunked(answer).startsWith('retry: '))
  assert.ok(unchunked(answer).endsWith(': keep-alive\n\n'))
  // Ten periods; a crowded machine may take longer, nothing may take less.
  assert.ok(took >= 900, `${took} ms`)
})

test('a stream that waits in the queue is kept alive, too, and goes on when its turn comes', async (t) => {
  const { url } = await startGateway(t, { 'keep-alive-ms': 100, 'scripted-slots': 1 })
  const first = await submit(url, scripted({ tokens: 2, rate: 0.01 }))
  const second = await submit(url, scripted({ tokens: 1 }))
  let canceled = false

  const answer = await raw(t, url, `/v1/tasks/${second.id}/events`, (answer) => {
    if (!canceled && count(answer, ': keep-alive\n\n') >= 2) {
      canceled = true
      void fetch(`${url}/v1/tasks/${first.id}`, { method: 'DELETE' })
    }
    return answer.endsWith('\r\n0\r\n\r\n')
  })

  const body = unchunked(answer)
  assert.ok(body.indexOf('event: queued') < body.indexOf(': keep-alive'))
  assert.ok(body.lastIndexOf(': keep-alive') < body.indexOf('event: started'))
  assert.ok(body.indexOf('event: started') < body.indexOf('event: completed'))
})
