/**
 * The WebSocket of PROTOCOL section 6, command by command, in both formats.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { describe, test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import WebSocket from 'ws'
import type { TaskEvent } from '../../src/core/event.js'
import { ended, openSocket, scripted, startGateway, submit, type TaskObject, textOf } from './harness.js'
import { checkWhole } from './paths.js'
import { type Format, type Frame, SocketClient } from './socket-client.js'

const FORMATS: Format[] = ['json', 'msgpack']
const NOBODY = 'task_aaaaaaaaaaaaaaaaaaaaa'

const prompt = (fields: Record<string, unknown>): string => JSON.stringify(fields)
const completed = ({ type }: Frame): boolean => type === 'completed'
const isEvent = ({ seq }: Frame): boolean => seq !== undefined
const eventsOf = (frames: Frame[], task: unknown): TaskEvent[] =>
  frames.filter((frame) => isEvent(frame) && frame.task === task) as TaskEvent[]
const codeOf = (frame: Frame): unknown => (frame.error as { code: string }).code

for (const format of FORMATS) {
  describe(`the WebSocket in ${format}`, { concurrency: 4 }, () => {
    test(`${format}: a submitted task is accepted, with its ref, and then told from seq 1`, async (t) => {
      const { url } = await startGateway(t)
      const client = await SocketClient.open(t, url, format)

      client.send({
        type: 'submit',
        ref: 'mine',
        prompt: prompt({ tokens: 3, text: 'a\nb\u2028c' }),
        metadata: { k: 'v' },
      })
      const [accepted, ...frames] = await client.until(completed)

      const task = accepted?.task as TaskObject & { metadata: unknown }
      assert.deepEqual({ ...accepted, task: null }, { type: 'accepted', ref: 'mine', task: null })
      assert.match(task.id, /^task_[\w-]{21}$/)
      assert.deepEqual(task.metadata, { k: 'v' })
      checkWhole(frames as TaskEvent[], task.id)
      assert.equal(textOf(frames as TaskEvent[]), 'a\nb\u2028c')
      assert.equal((await ended(url, task.id)).output.text, 'a\nb\u2028c')
    })

    test(`${format}: a ref comes back as it was given`, async (t) => {
      const { url } = await startGateway(t)
      const client = await SocketClient.open(t, url, format)

      for (const ref of ['r', '', '\u2028😀', 'x'.repeat(200), 0, 7, -1, 1.5, 2 ** 40]) {
        client.send({ type: 'ping', ref })
        assert.deepEqual(await client.next(), { type: 'pong', ref })
      }
      client.send({ type: 'ping' })
      assert.deepEqual(await client.next(), { type: 'pong' })
    })

    test(`${format}: a subscription is answered and goes on after its position`, async (t) => {
      const { url } = await startGateway(t)
      const { id: task } = await submit(url, scripted({ tokens: 20 }))
      const { last_seq: last } = await ended(url, task)
      const client = await SocketClient.open(t, url, format)

      client.send({ type: 'subscribe', ref: 1, task, after: 2 })
      const [subscribed, ...frames] = await client.until(completed)

      assert.deepEqual(subscribed, { type: 'subscribed', ref: 1, task, last_seq: last })
      checkWhole(frames as TaskEvent[], task, 2)
    })

    test(`${format}: a subscription at the terminal position is answered, and nothing follows`, async (t) => {
      const { url } = await startGateway(t)
      const { id: task } = await submit(url, scripted({ tokens: 2 }))
      const { last_seq: last } = await ended(url, task)
      const client = await SocketClient.open(t, url, format)

      client.send({ type: 'subscribe', task, after: last })

      assert.deepEqual(await client.flushed(), [{ type: 'subscribed', task, last_seq: last, ended: true }])
    })

    test(`${format}: one socket carries many tasks, each whole and in order`, async (t) => {
      const { url } = await startGateway(t)
      const client = await SocketClient.open(t, url, format)
      const wanted = Array.from({ length: 50 }, (_, index) => `answer ${index} `.repeat(10))

      for (const [ref, text] of wanted.entries()) {
        client.send({ type: 'submit', ref, prompt: prompt({ tokens: 30, rate: ref % 2 === 0 ? 0 : 300, text }) })
      }
      const frames: Frame[] = []
      for (const _ of wanted) frames.push(...(await client.until(completed)))

      const accepted = frames.filter(({ type }) => type === 'accepted')
      assert.equal(accepted.length, 50)
      for (const { ref, task } of accepted) {
        const events = eventsOf(frames, (task as TaskObject).id)
        checkWhole(events, (task as TaskObject).id)
        assert.equal(textOf(events), wanted[Number(ref)])
      }
      const order = frames.filter(isEvent).map(({ task }) => task)
      const turns = order.filter((task, index) => task !== order[index - 1]).length
      assert.ok(turns > 200, `the tasks take turns on the socket: ${turns}`)
    })

    test(`${format}: a second subscription takes the place of the first`, async (t) => {
      const { url } = await startGateway(t)
      const { id: task } = await submit(url, scripted({ tokens: 100, rate: 200 }))
      const client = await SocketClient.open(t, url, format)

      client.send({ type: 'subscribe', ref: 'first', task, after: 0 })
      const before = await client.until(({ type }) => type === 'token')
      client.send({ type: 'subscribe', ref: 'second', task, after: 0 })
      const between = await client.until(({ type }) => type === 'subscribed')
      const after = await client.until(completed)

      assert.deepEqual([before[0]?.ref, between.at(-1)?.ref], ['first', 'second'])
      checkWhole(after as TaskEvent[], task)
      assert.deepEqual(await client.flushed(), [])
    })

    test(`${format}: nothing comes after a subscription was ended, and other tasks go on`, async (t) => {
      const { url } = await startGateway(t)
      const client = await SocketClient.open(t, url, format)
      const [left, kept] = await Promise.all([
        submit(url, scripted({ tokens: 60, rate: 200 })),
        submit(url, scripted({ tokens: 100, rate: 200 })),
      ])
      for (const task of [left.id, kept.id]) client.send({ type: 'subscribe', task, after: 0 })
      await client.next(({ type, task }) => type === 'token' && task === left.id)

      client.send({ type: 'unsubscribe', ref: 3, task: left.id })
      const before = await client.until(({ type }) => type === 'unsubscribed')
      const after = await client.until((frame) => completed(frame) && frame.task === kept.id)

      assert.deepEqual(before.at(-1), { type: 'unsubscribed', ref: 3, task: left.id })
      assert.deepEqual(eventsOf(after, left.id), [])
      assert.equal((await ended(url, left.id)).status, 'completed')
      assert.ok(eventsOf(after, kept.id).length > 10)
    })

    test(`${format}: ending a subscription that is not there is answered like any other`, async (t) => {
      const { url } = await startGateway(t)
      const client = await SocketClient.open(t, url, format)

      client.send({ type: 'unsubscribe', ref: 'r', task: NOBODY })

      assert.deepEqual(await client.next(), { type: 'unsubscribed', ref: 'r', task: NOBODY })
    })

    test(`${format}: a cancel is answered, and the log ends with \`canceled\``, async (t) => {
      const { url } = await startGateway(t)
      const client = await SocketClient.open(t, url, format)
      client.send({ type: 'submit', prompt: prompt({ tokens: 1000, rate: 10 }) })
      const { task } = (await client.next(({ type }) => type === 'accepted')) as { task: TaskObject }
      await client.next(({ type }) => type === 'token')

      client.send({ type: 'cancel', ref: 'c', task: task.id })
      const frames = await client.until(({ type }) => type === 'canceled')

      const canceling = frames.find(({ type }) => type === 'canceling')
      assert.deepEqual(canceling, { type: 'canceling', ref: 'c', task: task.id })
      assert.equal(frames.at(-1)?.by, 'client')
      assert.equal((await ended(url, task.id)).status, 'canceled')
    })

    test(`${format}: a cancel after the end is answered and changes nothing`, async (t) => {
      const { url } = await startGateway(t)
      const { id: task } = await submit(url, scripted({ tokens: 2 }))
      await ended(url, task)
      const client = await SocketClient.open(t, url, format)

      client.send({ type: 'cancel', task })

      assert.deepEqual(await client.flushed(), [{ type: 'canceling', task }])
      assert.equal((await ended(url, task)).status, 'completed')
    })

    test(`${format}: a refused message names ref and task, and the socket stays open`, async (t) => {
      const { url } = await startGateway(t)
      const { id: task } = await submit(url, scripted({ tokens: 2 }))
      await ended(url, task)
      const client = await SocketClient.open(t, url, format)
      const refused: [Frame, string][] = [
        [{ type: 'subscribe', ref: 1, task: NOBODY }, 'task_not_found'],
        [{ type: 'subscribe', ref: 2, task: 'no id' }, 'task_not_found'],
        [{ type: 'subscribe', ref: 3, task, after: 1000 }, 'position_ahead'],
        [{ type: 'subscribe', ref: 4, task, after: -1 }, 'invalid_position'],
        [{ type: 'subscribe', ref: 5, task, after: 'x' }, 'invalid_position'],
        [{ type: 'cancel', ref: 6, task: NOBODY }, 'task_not_found'],
        [{ type: 'submit', ref: 7 }, 'invalid_request'],
        [{ type: 'submit', ref: 8, prompt: 'x', colour: 'red' }, 'unknown_field'],
        [{ type: 'submit', ref: 9, prompt: 'x', model: 'nobody' }, 'model_not_found'],
        [{ type: 'submit', ref: 10, prompt: 'x', max_tokens: 0 }, 'invalid_request'],
      ]

      for (const [frame, code] of refused) {
        client.send(frame)
        const answer = await client.next()

        assert.equal(answer.type, 'error')
        assert.equal(answer.ref, frame.ref)
        assert.equal(answer.task, frame.task)
        assert.equal(codeOf(answer), code, `${frame.ref}`)
        assert.equal(typeof (answer.error as Frame).message, 'string')
      }
      client.send({ type: 'ping', ref: 'still here' })
      assert.deepEqual(await client.next(), { type: 'pong', ref: 'still here' })
    })

    test(`${format}: three frames in a row that are not of the protocol close the socket with 1008`, async (t) => {
      const { url } = await startGateway(t)
      const client = await SocketClient.open(t, url, format)

      client.send({ type: 'no such type', ref: 'a' })
      client.send([])
      client.send({ type: 'ping', ref: 'c', unknown: true })
      const answers = [await client.next(), await client.next(), await client.next()]

      assert.deepEqual(answers.map(codeOf), ['invalid_request', 'invalid_request', 'invalid_request'])
      assert.deepEqual(
        answers.map(({ ref }) => ref),
        ['a', undefined, 'c'],
      )
      assert.equal((await client.closed).code, 1008)
    })

    test(`${format}: a good frame between bad ones is forgiveness`, async (t) => {
      const { url } = await startGateway(t)
      const client = await SocketClient.open(t, url, format)

      for (let round = 0; round < 5; round++) {
        client.send({ type: 'bad' })
        client.send({ type: 'bad' })
        // Refused, and yet a frame of the protocol.
        client.send(round % 2 === 0 ? { type: 'subscribe', task: NOBODY } : { type: 'ping' })
      }

      assert.equal((await client.flushed()).length, 15)
      assert.equal(client.ws.readyState, WebSocket.OPEN)
    })

    test(`${format}: bytes that are no value are answered with \`invalid_json\`, and the third closes`, async (t) => {
      const { url } = await startGateway(t)
      const client = await SocketClient.open(t, url, format)
      const junk =
        format === 'json' ? ['{"type":', '', 'ping'] : [[0x81], [], [0xa5, 0x61]].map((bytes) => Buffer.from(bytes))

      for (const bytes of junk) client.ws.send(bytes)
      const answers = [await client.next(), await client.next(), await client.next()]

      assert.deepEqual(answers.map(codeOf), ['invalid_json', 'invalid_json', 'invalid_json'])
      assert.equal((await client.closed).code, 1008)
    })

    test(`${format}: a frame over the bound closes the socket with 1009, one at the bound does not`, async (t) => {
      const { url } = await startGateway(t, { 'max-frame-bytes': 1000 })
      const client = await SocketClient.open(t, url, format)
      const ofBytes = (bytes: number): string | Buffer => {
        if (format === 'json') return '{"type":"ping"}'.padEnd(bytes)
        // A map of two fields; its ref is a str 16, whose length takes what is left.
        const head = Buffer.from('\u0082\u00a4type\u00a4ping\u00a3ref\u00da', 'latin1')
        const length = Buffer.alloc(2)
        length.writeUInt16BE(bytes - head.length - 2)
        return Buffer.concat([head, length, Buffer.alloc(bytes - head.length - 2, 'r')])
      }

      client.ws.send(ofBytes(1000))
      const answer = await client.next()
      client.ws.send(ofBytes(1001))

      // In msgpack the ref is over its own bound of 200 characters, which is another refusal.
      assert.equal(answer.type, format === 'json' ? 'pong' : 'error')
      assert.equal((await client.closed).code, 1009)
    })

    test(`${format}: a subscription over the bound is refused, and one that was ended makes room`, async (t) => {
      const { url } = await startGateway(t, { 'max-subscriptions': 2 })
      const client = await SocketClient.open(t, url, format)
      const tasks = await Promise.all([0, 1, 2].map(() => submit(url, scripted({ tokens: 2, rate: 0.01 }))))
      const [first, second, third] = tasks.map(({ id }) => id)
      const answers = ({ type }: Frame): boolean => type === 'subscribed' || type === 'error'

      for (const task of [first, second, third]) client.send({ type: 'subscribe', task, ref: task })
      await client.next(answers)
      await client.next(answers)
      const refused = await client.next(answers)
      client.send({ type: 'subscribe', ref: 'again', task: first })
      const again = await client.next(answers)
      client.send({ type: 'unsubscribe', task: first })
      client.send({ type: 'subscribe', task: third })
      const room = await client.next(answers)

      assert.deepEqual([codeOf(refused), refused.ref, refused.task], ['too_many_subscriptions', third, third])
      assert.deepEqual([again.type, again.ref], ['subscribed', 'again'])
      assert.deepEqual([room.type, room.task], ['subscribed', third])
    })

    test(`${format}: a task that has ended makes room for another subscription`, async (t) => {
      const { url } = await startGateway(t, { 'max-subscriptions': 1 })
      const client = await SocketClient.open(t, url, format)

      for (let round = 0; round < 3; round++) {
        client.send({ type: 'submit', ref: round, prompt: prompt({ tokens: 2 }) })
        const frames = await client.until(completed)
        assert.deepEqual([frames[0]?.type, frames[0]?.ref], ['accepted', round])
      }
    })
  })
}

describe('the WebSocket', { concurrency: 4 }, () => {
  test('JSON is spoken when no subprotocol is named, and none is answered', async (t) => {
    const { url } = await startGateway(t)
    const socket = await openSocket(t, url)

    socket.send('{"type":"ping","ref":1}')
    const [data] = (await once(socket, 'message')) as [Buffer]

    assert.equal(socket.protocol, '')
    assert.equal(data.toString(), '{"type":"pong","ref":1}')
  })

  test('the first known subprotocol in our order of those that are named is spoken', async (t) => {
    const { url } = await startGateway(t)

    const sockets = [
      await openSocket(t, url, ['rejoin.v1.msgpack']),
      await openSocket(t, url, ['rejoin.v9', 'rejoin.v1.msgpack']),
      await openSocket(t, url, ['rejoin.v1.json']),
    ]

    assert.deepEqual(
      sockets.map(({ protocol }) => protocol),
      ['rejoin.v1.msgpack', 'rejoin.v1.msgpack', 'rejoin.v1.json'],
    )
  })

  test('a handshake that names only unknown subprotocols is refused with 400', async (t) => {
    const { url } = await startGateway(t)

    const socket = new WebSocket(`${url.replace('http', 'ws')}/v1/ws`, ['graphql-ws'])
    const [, response] = await once(socket, 'unexpected-response')

    assert.equal(response.statusCode, 400)
    response.destroy()
  })

  test('a socket over the bound is refused with 503 and `Retry-After`, and one that was closed makes room', async (t) => {
    const { url } = await startGateway(t, { 'max-sockets': 2 })
    const first = await openSocket(t, url)
    await openSocket(t, url)

    const refused = new WebSocket(`${url.replace('http', 'ws')}/v1/ws`)
    const [, response] = await once(refused, 'unexpected-response')
    first.close()
    await once(first, 'close')
    await openSocket(t, url)

    assert.equal(response.statusCode, 503)
    assert.equal(response.headers['retry-after'], '1')
    response.destroy()
  })

  test('a request without an upgrade is told that the path is for WebSockets', async (t) => {
    const { url } = await startGateway(t)

    const response = await fetch(`${url}/v1/ws`)
    const { error } = (await response.json()) as { error: { code: string } }

    assert.deepEqual([response.status, error.code], [426, 'upgrade_required'])
  })

  test('a text frame that is not valid UTF-8 ends the connection', async (t) => {
    const { url } = await startGateway(t)
    const client = await SocketClient.open(t, url)

    client.ws.send(Buffer.from([0x22, 0xff, 0xfe, 0x22]), { binary: false })

    // uWebSockets.js fails the connection (RFC 6455, section 8.1) without a close frame.
    assert.equal((await client.closed).code, 1006)
  })

  test('a gateway that shuts down tells its sockets to come back', async (t) => {
    const running = await startGateway(t)
    const clients = [await SocketClient.open(t, running.url), await SocketClient.open(t, running.url, 'msgpack')]

    const [closed] = await Promise.all([Promise.all(clients.map(({ closed }) => closed)), running.close()])

    assert.deepEqual(closed, [
      { code: 1012, reason: 'service restart' },
      { code: 1012, reason: 'service restart' },
    ])
  })

  test('a socket that closes stops no task', async (t) => {
    const { url } = await startGateway(t)
    const client = await SocketClient.open(t, url)
    client.send({ type: 'submit', prompt: prompt({ tokens: 20, rate: 100 }) })
    const { task } = (await client.next(({ type }) => type === 'accepted')) as { task: TaskObject }
    await client.next(({ type }) => type === 'token')

    client.ws.terminate()
    await client.closed
    const done = await ended(url, task.id)

    assert.equal(done.status, 'completed')
    assert.equal(done.usage?.completion_tokens, 20)
  })

  test('a client that asks without ever reading the answers is told to try again later', async (t) => {
    const { url } = await startGateway(t)
    const client = await SocketClient.open(t, url)
    const ref = 'r'.repeat(200)
    client.ws.pause()

    // 13 MB of answers: more than the kernel’s buffers and ours hold together. Not more, for a client that does not read
    // the close frame within 4 s is cut without it.
    for (let sent = 0; sent < 60_000 && client.ws.readyState === WebSocket.OPEN; sent++) {
      client.send({ type: 'ping', ref })
      if (sent % 1000 === 0) await pause(0)
    }
    client.ws.resume()

    assert.deepEqual(await client.closed, { code: 1013, reason: 'answers are not read' })
  })

  test('a right frame with a wrong position between bad ones starts the count anew', async (t) => {
    const { url } = await startGateway(t)
    const client = await SocketClient.open(t, url)

    for (const frame of [1, 2, { type: 'subscribe', task: 'task_x', after: -1 }, 3, 4, { type: 'ping', ref: 'p' }]) {
      client.send(frame)
    }

    assert.deepEqual(await client.next(({ type }) => type === 'pong'), { type: 'pong', ref: 'p' })
  })

  test('a submit that is refused for want of a subscription makes no task', async (t) => {
    const { url } = await startGateway(t, { 'max-subscriptions': 1 })
    const client = await SocketClient.open(t, url)
    const request = JSON.parse(scripted({ tokens: 2, rate: 0.01 })) as object

    for (const ref of [1, 2]) client.send({ type: 'submit', ref, ...request })
    const refused = await client.next(({ type }) => type === 'error')
    const list = (await (await fetch(`${url}/v1/tasks`)).json()) as { data: TaskObject[] }

    assert.equal(refused.ref, 2)
    assert.equal((refused.error as { code: string }).code, 'too_many_subscriptions')
    assert.equal(list.data.length, 1)
  })
})
