/** The client's one file for browsers, `/rejoin.js`, in a real browser over networks that are against it. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { HostileProxy, type Hostility } from '../client/hostile-proxy.js'
import { startGateway } from '../server/harness.js'
import { Random, SEED } from '../server/random.js'
import { missing, openPage } from './browser.js'

type Seen = { text: string; seqs: [from: number, to: number][]; transports: string[]; stored: number }

/** In the page: runs a script to its end, and tells what came. */
const RUN = `async (prompt) => {
  const { Rejoin } = await import('/rejoin.js')
  const transports = new Set()
  const rejoin = new Rejoin({ onState: ({ status, transport }) => status === 'live' && transports.add(transport) })
  const seen = { text: '', seqs: [] }
  for await (const event of rejoin.run({ prompt }, { remember: 'answer' })) {
    seen.seqs.push([event.from ?? event.seq, event.seq])
    if (event.type === 'token') seen.text += event.text
  }
  return { ...seen, transports: [...transports], stored: sessionStorage.length }
}`

const SLOW = { tokens: 200, rate: 50 }
const SLOW_TEXT = Array.from({ length: 200 }, (_, at) => `w${at} `).join('')

const random = new Random(SEED)

const NETWORKS: [what: string, hostility: Hostility, transports: string[]][] = [
  ['lets everything through', {}, ['websocket']],
  ['refuses WebSockets', { refuseUpgrades: true }, ['sse']],
  [
    'refuses WebSockets and kills event streams after a second',
    { refuseUpgrades: true, streamMs: 1000 },
    ['sse', 'poll'],
  ],
]

describe('the client in a browser', { skip: missing, concurrency: 2 }, () => {
  for (const [what, hostility, transports] of NETWORKS) {
    test(`where the network ${what}, every event comes once, over ${transports.join(' and ')}`, async (t) => {
      const { url } = await startGateway(t)
      const proxy = await HostileProxy.start(t, url, hostility)
      const page = await openPage(t, proxy.url)

      const seen = (await page.evaluate(`(${RUN})(${JSON.stringify(JSON.stringify(SLOW))})`)) as Seen

      assertWhole(seen)
      assert.deepEqual(seen.transports, transports)
    })
  }

  test('where the network cuts whatever it likes, every event comes once', async (t) => {
    const { url } = await startGateway(t)
    const proxy = await HostileProxy.start(t, url)
    const page = await openPage(t, proxy.url)
    // The page has its files. Of what follows every second answer is shorter than any.
    let answers = 0
    proxy.hostility = { bytes: () => (++answers % 2 === 0 ? random.between(20, 500) : random.between(2000, 8000)) }

    const seen = (await page.evaluate(`(${RUN})(${JSON.stringify(JSON.stringify(SLOW))})`)) as Seen

    assertWhole(seen)
    assert.ok(proxy.cuts > 0)
  })
})

function assertWhole({ text, seqs, stored }: Seen): void {
  let position = 0
  for (const [from, to] of seqs) {
    assert.equal(from, position + 1)
    position = to
  }
  assert.equal(text, SLOW_TEXT)
  assert.equal(stored, 0, 'what was remembered is gone when the answer has ended')
}
