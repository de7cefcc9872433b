/** Whole load tests: of a real gateway over every protocol, and of servers with defects, which must be found. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type RequestListener, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type TestContext, test } from 'node:test'
import { type LoadOptions, loadOptions, PROTOCOLS } from '../../src/load/options.js'
import { type Result, runLoad } from '../../src/load/run.js'
import { type Summary, summarize, wentWell } from '../../src/load/summary.js'
import { startGateway } from '../server/harness.js'

const run = (given: Partial<LoadOptions>): Promise<Result> =>
  runLoad(loadOptions.check({ warmup: 0, ...given }), new AbortController().signal, () => {})

const summary = async (given: Partial<LoadOptions>): Promise<Summary> => summarize(await run(given))

/** A server for one test. */
async function serve(t: TestContext, listener: RequestListener): Promise<string> {
  const server: Server = createServer(listener).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

const SCRIPT = JSON.stringify({ tokens: 60, rate: 200, stamp: true })

for (const protocol of PROTOCOLS.filter((protocol) => protocol !== 'openai')) {
  test(`over ${protocol} every answer comes whole, through cuts at random moments`, async (t) => {
    const { url } = await startGateway(t)

    const seen = await summary({
      url,
      protocol,
      clients: 8,
      tasks: 24,
      duration: 60,
      prompt: SCRIPT,
      'cut-every': 0.15,
    })

    assert.deepEqual([seen.lost, seen.repeated, seen.tasks.unfinished, seen.tasks.failed], [0, 0, 0, 0])
    assert.deepEqual([seen.tasks.begun, seen.tasks.completed], [24, 24])
    assert.ok(seen.cuts > 5 && seen.resumes >= 5, `${seen.cuts} cuts, ${seen.resumes} resumes`)
    assert.ok(seen.times.resume.count > 0 && seen.times.lateness.count > 0)
    assert.ok(seen.times.lateness.p50 > 0 && seen.times.firstToken.count === 24)
    assert.deepEqual(seen.errors, {})
    assert.ok(wentWell(seen))
  })
}

test('slow readers get all of it, late, and do not count for how fast it was', async (t) => {
  const { url } = await startGateway(t)
  const prompt = JSON.stringify({ tokens: 100, text: 'x'.repeat(3000) })

  const seen = await summary({ url, clients: 4, tasks: 8, duration: 60, prompt, 'slow-readers': 50 })

  assert.deepEqual([seen.lost, seen.repeated, seen.tasks.completed], [0, 0, 8])
  assert.ok(seen.times.total.count > 0 && seen.times.total.count < 8, `${seen.times.total.count}`)
})

test('what the end of the run cuts off is told, and canceled: nothing runs on for nobody', async (t) => {
  const { url } = await startGateway(t)

  for (const protocol of ['sse', 'ws', 'poll'] as const) {
    const seen = await summary({ url, protocol, clients: 3, duration: 0.5, prompt: '{"tokens":100000,"rate":100}' })

    assert.deepEqual([seen.tasks.unfinished, seen.tasks.completed, seen.lost], [3, 0, 0])
    assert.ok(wentWell(seen))
  }
  const wait = async (): Promise<number> => {
    const listed = await fetch(`${url}/v1/tasks?status=running`)
    return ((await listed.json()) as { data: unknown[] }).data.length
  }
  while ((await wait()) > 0) await new Promise((resolve) => setTimeout(resolve, 20))
})

test('a queue that is full is an error by its code, and its task is asked for again', async (t) => {
  const { url } = await startGateway(t, { 'scripted-slots': 1, 'max-queue': 1 })

  const seen = await summary({ url, clients: 4, tasks: 6, duration: 60, prompt: '{"tokens":10,"rate":100}' })

  assert.equal(seen.tasks.completed, 6)
  assert.ok((seen.errors.queue_full ?? 0) > 0)
})

test('a request that will not be better is given up', async (t) => {
  const { url } = await startGateway(t)

  const seen = await summary({ url, clients: 2, tasks: 2, duration: 60, model: 'none' })

  assert.deepEqual([seen.errors, seen.tasks.completed], [{ model_not_found: 2 }, 0])
  assert.equal(wentWell(seen), false)
})

test('tasks that come at a rate are begun at their times, and those that are held up are told', async (t) => {
  const { url } = await startGateway(t)
  const prompt = '{"tokens":20,"rate":100}'

  const fast = await summary({ url, clients: 50, arrivals: 'poisson', rate: 100, tasks: 50, duration: 60, prompt })
  const slow = await summary({ url, clients: 1, arrivals: 'uniform', rate: 100, tasks: 10, duration: 60, prompt })

  assert.deepEqual([fast.tasks.completed, slow.tasks.completed], [50, 10])
  assert.ok(slow.tasks.delayed >= 8)
  assert.match(slow.warnings.join(), /were begun late/)
  // The tenth waited for nine answers of 190 ms, although each was quick once it was asked for.
  assert.ok(slow.times.firstToken.max > 1000, `${slow.times.firstToken.max}`)
})

const event = (seq: number, type: string): string =>
  `id: ${seq}\nevent: ${type}\ndata: {"task":"task_x","seq":${seq},"at":1,"type":"${type}","text":"x","tokens":1}\n\n`

test('a server that loses an event, and one that repeats one, are found out', async (t) => {
  const says = (events: string[]): Promise<string> =>
    serve(t, (_request, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream', location: '/v1/tasks/task_x' })
      response.end(events.join(''))
    })
  const losing = await says([event(1, 'queued'), event(2, 'token'), event(4, 'token'), event(5, 'completed')])
  const repeating = await says([event(1, 'queued'), event(2, 'token'), event(2, 'token'), event(3, 'completed')])

  const lost = await summary({ url: losing, clients: 1, tasks: 1, duration: 60 })
  const repeated = await summary({ url: repeating, clients: 1, tasks: 1, duration: 60 })

  assert.deepEqual([lost.lost, lost.repeated, wentWell(lost)], [1, 0, false])
  assert.deepEqual([repeated.lost, repeated.repeated, wentWell(repeated)], [0, 1, false])
})

test('a stream that ends without its last event is an error, and is followed on', async (t) => {
  let requests = 0
  const url = await serve(t, (request, response) => {
    requests++
    response.writeHead(200, { 'content-type': 'text/event-stream', location: '/v1/tasks/task_x' })
    if (request.method === 'POST') response.end(event(1, 'queued') + event(2, 'token'))
    else response.end(request.headers['last-event-id'] === '2' ? event(3, 'completed') : '')
  })

  const seen = await summary({ url, clients: 1, tasks: 1, duration: 60 })

  assert.deepEqual([seen.errors, seen.lost, seen.repeated, seen.tasks.completed], [{ ended_early: 1 }, 0, 0, 1])
  assert.equal(requests, 2)
})

const chunk = (delta: object, finish: string | null = null): string =>
  `data: ${JSON.stringify({ id: 'c', object: 'chat.completion.chunk', choices: [{ index: 0, delta, finish_reason: finish }] })}\n\n`

test('any server with chat completions can be tested, refusals and all', async (t) => {
  const bodies: unknown[] = []
  const url = await serve(t, async (request, response) => {
    let body = ''
    for await (const part of request) body += part
    assert.equal(request.url, '/v1/chat/completions')
    assert.equal(request.headers.authorization, 'Bearer secret')
    if (bodies.push(JSON.parse(body)) === 1) {
      response.writeHead(429, { 'retry-after': '0', 'content-type': 'application/json' })
      response.end('{"error":{"code":"rate_limited","message":"x"}}')
      return
    }
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.write(chunk({ role: 'assistant', content: '' }))
    for (const content of ['Hel', 'lo', ' "content":""']) response.write(chunk({ content }))
    response.write(chunk({}, 'stop'))
    response.end('data: [DONE]\n\n')
  })

  const seen = await summary({
    url: `${url}/v1`,
    protocol: 'openai',
    'api-key': 'secret',
    clients: 1,
    tasks: 3,
    duration: 60,
    model: 'gpt',
  })

  assert.deepEqual([seen.tasks.completed, seen.errors, seen.lost, seen.repeated], [3, { rate_limited: 1 }, null, null])
  assert.equal(Math.round(seen.tokensPerS * seen.seconds), 9)
  assert.equal(bodies.length, 4)
  const { model, stream, max_tokens } = bodies[0] as Record<string, unknown>
  assert.deepEqual([model, stream, max_tokens], ['gpt', true, 200])
  assert.ok(wentWell(seen))
})

test('a completion that breaks off, and one that tells of an error, are errors and not answers', async (t) => {
  const ends = ['', 'data: {"error":{"message":"out of memory"}}\n\ndata: [DONE]\n\n']
  const url = await serve(t, (_request, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.end(chunk({ content: 'x' }) + ends.shift())
  })

  const seen = await summary({ url, protocol: 'openai', clients: 1, tasks: 2, duration: 60 })

  assert.deepEqual([seen.errors, seen.tasks.completed], [{ ended_early: 1, error_in_stream: 1 }, 0])
})

test('a server that is not there is an error by its name', async (t) => {
  const url = await serve(t, () => {})
  const { port } = new URL(url)

  const seen = await summary({ url: `http://127.0.0.1:${Number(port) === 1 ? 2 : 1}`, clients: 1, duration: 0.3 })

  assert.ok((seen.errors.ECONNREFUSED ?? 0) > 0, JSON.stringify(seen.errors))
  assert.equal(wentWell(seen), false)
})

test('options that do not go together are refused in one line', async () => {
  const refused: [Partial<LoadOptions>, RegExp][] = [
    [{ arrivals: 'poisson' }, /^--arrivals poisson needs a --rate$/],
    [{ rate: 5 }, /^--rate needs --arrivals uniform or poisson$/],
    [{ protocol: 'openai', 'cut-every': 1 }, /^--cut-every: the OpenAI protocol has no positions/],
    [{ url: 'localhost:80' }, /^--url must be like http:\/\/HOST:PORT, got "localhost:80"$/],
  ]
  for (const [given, message] of refused) await assert.rejects(run(given), { message })
})
