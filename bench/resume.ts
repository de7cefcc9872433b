/**
 * How long it takes to catch up with a task from its begin.
 *
 * `npm run bench -- resume`. A task of 10,000 tokens that has ended, read whole by one client, and by 50 that come at the same
 * time, over SSE and WebSocket; of the gateway, and of bare uWebSockets.js that keeps an array of frames and writes them joined.
 * Medians of rounds in turn; the time is from the request to the last event, of the slowest client. Bad: fewer than 1.5
 * million events a second for one client.
 */
import { Clients } from './load/clients.js'
import { BenchGateway } from './load/gateway.js'
import type { Protocol } from './load/job.js'
import { PeerServer } from './load/peer.js'
import type { Server } from './load/server.js'
import { submitTask } from './load/submit-task.js'
import { markdown, ratio } from './load/table.js'
import { median } from './statistics.js'

const TOKENS = 10_000
const CROWDS = [1, 50]
const WARM_UPS = 5
const ROUNDS = 20

type Side = { name: string; server: Server; task: string }

const script = { tokens: TOKENS }
const side = async (name: string, server: Server): Promise<Side> => ({
  name,
  server,
  task: await submitTask(server, script),
})
const sides = [
  await side('gateway', await BenchGateway.start([])),
  await side('bare uWS', await PeerServer.start('uws-log')),
]

/** Of each side, the milliseconds until the slowest of the crowd had it all. */
async function caughtUpMs(protocol: Protocol, clients: number): Promise<Map<Side, number>> {
  const crowds = new Map<Side, Clients>()
  const seen = new Map<Side, number[]>()
  for (const side of sides) {
    const crowd = await Clients.start(side.server, { protocol, clients, script, follow: side.task })
    // The first time, its end may have been waited for.
    await crowd.caughtUp()
    crowds.set(side, crowd)
    seen.set(side, [])
  }
  for (let round = 0; round < WARM_UPS + ROUNDS; round++) {
    for (const [side, crowd] of crowds) {
      crowd.followAgain()
      const slowest = Math.max(...(await crowd.caughtUp()))
      if (round >= WARM_UPS) seen.get(side)?.push(slowest)
    }
  }
  for (const crowd of crowds.values()) await crowd.stop()
  return new Map([...seen].map(([side, ms]) => [side, median(ms)]))
}

const rows: string[][] = []
for (const protocol of ['sse', 'ws'] as const) {
  for (const clients of CROWDS) {
    const ms = await caughtUpMs(protocol, clients)
    const bare = [...ms.values()].at(-1)
    for (const [{ name }, took] of ms) {
      rows.push([
        `${protocol === 'sse' ? 'SSE' : 'WebSocket'}, ${clients} at once: ${name}`,
        took.toFixed(2),
        ((clients * TOKENS) / took / 1000).toFixed(2),
        ratio(took, bare),
      ])
    }
  }
}
for (const { server } of sides) await server.stop()
process.stdout.write(`\n${markdown(['', 'caught up after ms', 'M events/s', 'time / uWS'], rows)}`)
