import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Transport, TransportName } from '../../src/client/transport.js'
import { Ways } from '../../src/client/ways.js'

const transport = (name: TransportName): Transport => ({ name, follow: async () => ({ type: 'ended' }) })
const [websocket, sse, poll] = [transport('websocket'), transport('sse'), transport('poll')]
const ways = (): Ways => new Ways([websocket, sse, poll])
const S = 1000

test('a transport that does not work rests, longer each time, up to five minutes', () => {
  const all = ways()
  const rests: number[] = []

  for (let now = 0, failures = 0; failures < 8; failures++) {
    all.unusable(websocket, now)
    const from = now
    while (all.pick(now) !== websocket) now += S
    rests.push((now - from) / S)
  }

  assert.deepEqual(rests, [10, 20, 40, 80, 160, 300, 300, 300])
})

test('a connection that is cut young is forgiven once, and one that did its work always', () => {
  const all = ways()

  all.cut(websocket, 2 * S, 0)
  const once = all.pick(0)
  all.cut(websocket, 20 * S, 30 * S)
  all.cut(websocket, 2 * S, 40 * S)
  const afterLong = all.pick(40 * S)
  all.cut(websocket, 2 * S, 50 * S)

  assert.deepEqual([once, afterLong, all.pick(50 * S), all.pick(61 * S)], [websocket, websocket, sse, websocket])
})

test('what many tasks lose in one moment counts once', () => {
  const all = ways()

  for (let task = 0; task < 10; task++) all.cut(websocket, S, task)

  assert.equal(all.pick(20), websocket)
})

test('the last transport never rests, and one that will not do for a task is left out', () => {
  const all = ways()
  for (const each of [websocket, sse, poll]) all.unusable(each, 0)

  assert.equal(all.pick(0), poll)
  assert.equal(ways().pick(0, websocket), sse)
  assert.equal(new Ways([websocket]).pick(0, websocket), websocket)
})

test('nothing is held against any of them when nothing works', () => {
  const all = ways()
  all.unusable(websocket, 0)
  all.cut(sse, S, 0)

  all.forgive()
  all.cut(sse, S, 10 * S)

  assert.deepEqual([all.pick(0), all.pick(10 * S, websocket)], [websocket, sse])
})
