/**
 * What a reader costs that is attached to a task and hears nothing.
 *
 * `npm run bench -- idle`. Resident memory of the server, after a forced garbage collection, with 5,000 and with 15,000 clients
 * that follow a task which has said one token and then says nothing, over SSE and WebSocket; the difference by 10,000,
 * so that what is there anyway drops out (the pages of the young generation, too, which the first readers touch). Of the gateway and of bare uWebSockets.js; what the kernel holds for a socket is not
 * in it. Bad: over 2 KB a reader.
 */
import { Clients } from './load/clients.js'
import { BenchGateway } from './load/gateway.js'
import type { Protocol } from './load/job.js'
import { allowed } from './load/limits.js'
import { FREEING, residentBytes } from './load/memory.js'
import { PeerServer } from './load/peer.js'
import type { Server } from './load/server.js'
import { submitTask } from './load/submit-task.js'
import { markdown, ratio } from './load/table.js'

const FIRST = 5000
const MORE = allowed(10_000)
/** The second token comes after a quarter of an hour. */
const SCRIPT = { tokens: 2, rate: 0.001 }

const SIDES: [name: string, start: () => Promise<Server>][] = [
  ['gateway', () => BenchGateway.start([], undefined, FREEING)],
  ['bare uWS', () => PeerServer.start('uws-log', FREEING)],
]

async function bytesPerReader(server: Server, protocol: Protocol): Promise<number> {
  const follow = await submitTask(server, SCRIPT)
  const follows = (clients: number): Promise<Clients> =>
    Clients.start(server, { protocol, clients, script: SCRIPT, follow })
  const first = await follows(FIRST)
  const before = await residentBytes(server)
  const more = await follows(MORE)
  const after = await residentBytes(server)
  await first.stop()
  await more.stop()
  return (after - before) / MORE
}

const rows: string[][] = []
for (const protocol of ['sse', 'ws'] as const) {
  const bytes: [string, number][] = []
  for (const [name, start] of SIDES) {
    const server = await start()
    bytes.push([name, await bytesPerReader(server, protocol)])
    await server.stop()
  }
  const bare = bytes.at(-1)?.[1]
  for (const [name, each] of bytes) {
    rows.push([`${protocol === 'sse' ? 'SSE' : 'WebSocket'}: ${name}`, each.toFixed(0), ratio(each, bare)])
  }
}
process.stdout.write(`\n${markdown(['', 'bytes a reader', '/ uWS'], rows)}`)
