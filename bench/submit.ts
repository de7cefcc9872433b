/**
 * What a task costs that says nothing: how many are accepted a second, and the CPU of one from its POST to its end.
 *
 * `npm run bench -- submit`. Over 50 connections that are kept, one request at a time each: POST for a 202, of tasks of 0 tokens that
 * end by themselves; and POST with the stream, to its last event. Of the gateway, which records every task before it
 * answers, and of bare uWebSockets.js, which parses the body and answers with an id, or with the last event. Medians of
 * three rounds in turn. Bad: over 3 times the CPU of bare uWebSockets.js for a whole task.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { Clients } from './load/clients.js'
import { BenchGateway } from './load/gateway.js'
import type { Protocol, Received } from './load/job.js'
import { PeerServer } from './load/peer.js'
import type { Server } from './load/server.js'
import { markdown, ratio } from './load/table.js'
import { median } from './statistics.js'

const CONNECTIONS = 50
const ROUNDS = 3
const WARM_UP_MS = 500
const MEASURE_MS = 1500

const sides: [name: string, server: Server][] = [
  ['gateway', await BenchGateway.start([])],
  ['bare uWS', await PeerServer.start('uws')],
]

async function load(server: Server, protocol: Protocol): Promise<Received> {
  const clients = await Clients.start(server, { protocol, clients: CONNECTIONS, script: { tokens: 0 } })
  await sleep(WARM_UP_MS)
  const received = await clients.measure(MEASURE_MS)
  await clients.stop()
  return received
}

const rows: string[][] = []
for (const protocol of ['post', 'sse'] as const) {
  const seen: Received[][] = sides.map(() => [])
  for (let round = 0; round < ROUNDS; round++) {
    for (const [i, [, server]] of sides.entries()) seen[i]?.push(await load(server, protocol))
  }
  const figures = seen.map((rounds) => ({
    cpuUs: median(rounds.map(({ serverCpuS, tasks }) => (serverCpuS * 1e6) / tasks)),
    perS: median(rounds.map(({ tasks, ms }) => (tasks * 1000) / ms)),
    p50: median(rounds.map(({ firstMs }) => firstMs.p50)),
    p99: median(rounds.map(({ firstMs }) => firstMs.p99)),
  }))
  const bare = figures.at(-1)
  for (const [i, { cpuUs, perS, p50, p99 }] of figures.entries()) {
    rows.push([
      `${protocol === 'post' ? 'accepted (202)' : 'POST to the end (SSE)'}: ${sides[i]?.[0]}`,
      perS.toFixed(0),
      cpuUs.toFixed(1),
      p50.toFixed(2),
      p99.toFixed(2),
      ratio(perS, bare?.perS),
      ratio(cpuUs, bare?.cpuUs),
    ])
  }
}
for (const [, server] of sides) await server.stop()
process.stdout.write(
  `\n${markdown(['', 'tasks/s', 'CPU µs/task', 'p50 ms', 'p99 ms', 'tasks / uWS', 'CPU / uWS'], rows)}`,
)
