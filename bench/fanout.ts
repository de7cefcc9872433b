/**
 * One task and many who follow it: what a delivered event costs, and how many there are a second.
 *
 * `npm run bench -- fanout`. 1,000 and 10,000 SSE streams of one task with stamps, of the gateway and of bare uWebSockets.js with an
 * array of frames and a corked write per event and subscriber; at a rate that the latter can keep up with (40,000 events a
 * second), and at one that nobody can who writes each by itself (400,000). Bad: less than 0.8 of its events, or more
 * CPU an event than 1.25 of it.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { Clients } from './load/clients.js'
import { BenchGateway } from './load/gateway.js'
import type { Received } from './load/job.js'
import { allowed } from './load/limits.js'
import { PeerServer } from './load/peer.js'
import type { Server } from './load/server.js'
import { submitTask } from './load/submit-task.js'
import { markdown, ratio } from './load/table.js'

const SUBSCRIBERS = [1000, 10_000]
const EVENTS_PER_S = [40_000, 400_000]
const WARM_UP_MS = 500
const MEASURE_MS = 1500
/** Longer than any of this takes. */
const TASK_S = 60

async function load(server: Server, subscribers: number, rate: number): Promise<Received> {
  const script = { tokens: TASK_S * rate, rate, stamp: true }
  const follow = await submitTask(server, script)
  const clients = await Clients.start(server, { protocol: 'sse', clients: subscribers, script, follow })
  await sleep(WARM_UP_MS)
  const received = await clients.measure(MEASURE_MS)
  await clients.stop()
  return received
}

const rows: string[][] = []
for (const subscribers of SUBSCRIBERS.map(allowed)) {
  for (const wanted of EVENTS_PER_S) {
    const cost = async (server: Server): Promise<Received> => load(server, subscribers, wanted / subscribers)
    // One for each, since its task goes on.
    const gateway = await BenchGateway.start([])
    const ours = await cost(gateway)
    await gateway.stop()
    const peer = await PeerServer.start('uws-log')
    const bare = await cost(peer)
    await peer.stop()
    const cpuUs = ({ serverCpuS, events }: Received): number => (serverCpuS * 1e6) / events
    const perS = ({ events, ms }: Received): number => (events * 1000) / ms
    for (const [name, received] of [['gateway', ours] as const, ['bare uWS', bare] as const]) {
      rows.push([
        `${subscribers} subscribers, ${wanted} events/s wanted: ${name}`,
        cpuUs(received).toFixed(2),
        (perS(received) / 1000).toFixed(1),
        received.lateMs.p50.toFixed(1),
        received.lateMs.p99.toFixed(1),
        ratio(cpuUs(received), cpuUs(bare)),
        ratio(perS(received), perS(bare)),
      ])
    }
  }
}
process.stdout.write(
  `\n${markdown(['', 'CPU µs/event', 'k events/s', 'late p50 ms', 'late p99 ms', 'CPU / uWS', 'events / uWS'], rows)}`,
)
