import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import OpenAI from 'openai'
import type { Delivery } from '../../src/core/delivery.js'
import { type Resolve, signingKey, WebhookClient } from '../../src/gateway/webhook-client.js'
import { ok, receiver } from './receiver.js'

const SECRET = `whsec_${Buffer.from('a key that has more than 24 bytes').toString('base64')}`
const BODY = '{"task":"task_x","seq":7,"type":"completed","text":"ünïcode 🦊"}'

const delivery = (url: string): Delivery => ({
  id: 'task_x_7',
  task: 'task_x',
  url,
  body: BODY,
  endedAt: Date.now(),
  failures: 0,
  nextAt: 0,
})

function client(
  t: TestContext,
  more: { secret?: string; allowPrivate?: boolean; resolve?: Resolve } = {},
): WebhookClient {
  const { secret = SECRET, allowPrivate = true, resolve } = more
  const made = new WebhookClient({ secret, allowPrivate }, resolve)
  t.after(() => made.close())
  return made
}

for (const secret of [SECRET, 'a text of more than 24 bytes as it is']) {
  test(`a delivery signed with ${secret.slice(0, 6)}… is verified and read by the openai client as it comes from npm`, async (t) => {
    const { url, calls } = await receiver(t, ok)

    const posted = await client(t, { secret }).post(delivery(url))

    assert.deepEqual(posted, { type: 'delivered' })
    const [call] = calls
    const { webhooks } = new OpenAI({ apiKey: 'none', webhookSecret: secret })
    const headers = call?.headers as Record<string, string>
    assert.deepEqual(await webhooks.unwrap(call?.body ?? '', headers), JSON.parse(BODY))
    await assert.rejects(webhooks.unwrap(`${call?.body} `, headers))
    assert.deepEqual([headers['webhook-id'], headers['content-type']], ['task_x_7', 'application/json'])
  })
}

test('a secret of less than 24 bytes is refused', () => {
  assert.throws(() => signingKey('short'), /24 bytes or more, got 5/)
  assert.throws(() => signingKey('whsec_c2hvcnQ='), /24 bytes or more, got 5/)
})

test('an answer other than success is a failure that may pass, and says how long to wait', async (t) => {
  const { url } = await receiver(t, (response) => response.writeHead(503, { 'retry-after': '7' }).end())

  assert.deepEqual(await client(t).post(delivery(url)), {
    type: 'failed',
    reason: 'answered with 503',
    retryAfterMs: 7000,
  })
})

test('a receiver that is gone is not asked again', async (t) => {
  const { url } = await receiver(t, (response) => response.writeHead(410).end())

  assert.deepEqual(await client(t).post(delivery(url)), { type: 'refused', reason: 'answered with 410' })
})

test('a connection that is refused is a failure that may pass', async (t) => {
  const posted = await client(t).post(delivery('http://127.0.0.1:1/'))

  assert.equal(posted.type, 'failed')
})

test('a redirect that keeps the method is followed with the body, a few times', async (t) => {
  const { url, calls } = await receiver(t, (response, { path }) => {
    if (path === '/hook') response.writeHead(307, { location: '/next' }).end()
    else if (path === '/next') response.writeHead(308, { location: '/last' }).end()
    else ok(response)
  })
  const loop = await receiver(t, (response) => response.writeHead(307, { location: '/hook' }).end())

  const posted = await client(t).post(delivery(url))
  const looped = await client(t).post(delivery(loop.url))

  assert.deepEqual(posted, { type: 'delivered' })
  assert.deepEqual(
    calls.map(({ path, body }) => [path, body]),
    [
      ['/hook', BODY],
      ['/next', BODY],
      ['/last', BODY],
    ],
  )
  assert.deepEqual([looped.type, loop.calls.length], ['failed', 4])
})

test('a redirect that would make a GET of it is a failure', async (t) => {
  const { url, calls } = await receiver(t, (response) => response.writeHead(302, { location: '/next' }).end())

  const posted = await client(t).post(delivery(url))

  assert.deepEqual([posted.type, calls.length], ['failed', 1])
})

test('nothing is sent to a private address, whether it stands in the URL or its name resolves to it', async (t) => {
  const { url, calls } = await receiver(t, ok)
  const { port } = new URL(url)
  const asked: string[] = []
  const resolve: Resolve = async (host) => {
    asked.push(host)
    return [
      { address: '8.8.8.8', family: 4 },
      { address: '127.0.0.1', family: 4 },
    ]
  }
  const careful = client(t, { allowPrivate: false, resolve })

  const literal = await careful.post(delivery(url))
  const named = await careful.post(delivery(`http://innocent.example:${port}/hook`))

  assert.deepEqual(literal, { type: 'refused', reason: '127.0.0.1 is not public' })
  assert.deepEqual(named, { type: 'refused', reason: 'innocent.example is 127.0.0.1, which is not public' })
  assert.deepEqual([asked, calls], [['innocent.example'], []])
})

test('a redirect to a private address is refused, whether it stands there or a name resolves to it', async (t) => {
  const target = await receiver(t, ok)
  const { port } = new URL(target.url)
  let location = ''
  const first = await receiver(t, (response) => response.writeHead(307, { location }).end())
  const resolve: Resolve = async (host) => [
    { address: host === 'first.example' ? '127.0.0.1' : '127.0.0.2', family: 4 },
  ]
  // One loopback address plays the public internet, the other one does not.
  const careful = new WebhookClient({ secret: SECRET, allowPrivate: false }, resolve, (to) => to === '127.0.0.1')
  t.after(() => careful.close())
  const start = `http://first.example:${new URL(first.url).port}/hook`

  location = `http://127.0.0.1:${port}/hook`
  const literal = await careful.post(delivery(start))
  location = `http://second.example:${port}/hook`
  const named = await careful.post(delivery(start))
  location = 'file:///etc/passwd'
  const scheme = await careful.post(delivery(start))

  assert.equal(first.calls.length, 3)
  assert.deepEqual(
    [literal, named, scheme],
    [
      { type: 'refused', reason: '127.0.0.1 is not public' },
      { type: 'refused', reason: 'second.example is 127.0.0.2, which is not public' },
      { type: 'refused', reason: 'a redirect to file:' },
    ],
  )
  assert.deepEqual(target.calls, [])
})

test('an answer that never ends is cut, and what is under way fails when the client is closed', async (t) => {
  const hanging = await receiver(t, () => {})
  const endless = await receiver(t, (response) => {
    response.writeHead(200)
    response.write('x'.repeat(1_000_000))
  })
  const made = client(t)

  const posting = made.post(delivery(hanging.url))
  const answered = await made.post(delivery(endless.url))
  made.close()

  assert.deepEqual(answered, { type: 'delivered' })
  assert.equal((await posting).type, 'failed')
})
