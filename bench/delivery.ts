/**
 * What the gateway costs and how late it is, beside what others use for the same job: a task per client, and its tokens as they
 * are made.
 *
 * `npm run bench -- delivery`; `node dist/bench/delivery.js gateway uws` for some of the servers. A gateway with its journal (the
 * default), bare uWebSockets.js with a write per token, Fastify, `ws`, Socket.IO, and FastAPI with a queue per client; each
 * in a process of its own, loaded one at a time and in turn. Clients submit a task of 200 tokens, follow it and submit the
 * next: at full speed, or at 50 tokens a second each. All CPU of the server counts, over the events that came. Ratios are to
 * bare uWebSockets.js over the same transport, from the same run. Lateness is from the moment at which a token fell due to
 * its bytes at the client; the clients share the cores with the server. A little over 100 % of what is wanted is right: a
 * client's next task begins with the end of the last one, and its first token is due at once.
 *
 * Bad for the gateway: at full speed more than 4 µs of CPU an event with 500 and 2,000 clients; at 50/s less than 99 % of
 * what is wanted with 2,000 clients or p99 over 150 ms, and with 500 CPU over 1.2, p99 over 0.6 of bare uWebSockets.js;
 * a first token after 1.5 times as long with 50 clients.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { Clients } from './load/clients.js'
import { BenchGateway } from './load/gateway.js'
import type { Protocol, Received } from './load/job.js'
import { missing, type Peer, PeerServer } from './load/peer.js'
import type { Server } from './load/server.js'
import { markdown, ratio } from './load/table.js'
import { median } from './statistics.js'

const TOKENS = 200
const RATE = 50
const WARM_UP_MS = 700
const MEASURE_MS = { compared: 2000, others: 1500 }
/** What the server does when its clients have left is not the next one's cost. */
const SETTLE_MS = 200

type Row = { name: string; server: Peer | 'gateway'; protocol: Protocol; base: string }
const UWS = { sse: 'bare uWS, SSE', ws: 'bare uWS, WebSocket' }
const ROWS: Row[] = [
  { name: 'gateway, SSE', server: 'gateway', protocol: 'sse', base: UWS.sse },
  { name: UWS.sse, server: 'uws', protocol: 'sse', base: UWS.sse },
  { name: 'gateway, WebSocket', server: 'gateway', protocol: 'ws', base: UWS.ws },
  { name: UWS.ws, server: 'uws', protocol: 'ws', base: UWS.ws },
  { name: 'Fastify, SSE', server: 'fastify', protocol: 'sse', base: UWS.sse },
  { name: '`ws`', server: 'ws', protocol: 'ws', base: UWS.ws },
  { name: 'Socket.IO', server: 'socketio', protocol: 'socketio', base: UWS.ws },
  { name: 'FastAPI, asyncio queues, SSE', server: 'fastapi', protocol: 'sse', base: UWS.sse },
]

/** `rounds` are for the gateway and bare uWebSockets.js over SSE, whose tails are compared. */
type Scenario = { clients: number; rate: number; rounds: number }
const SCENARIOS: Scenario[] = [
  { clients: 50, rate: 0, rounds: 1 },
  { clients: 500, rate: 0, rounds: 1 },
  { clients: 2000, rate: 0, rounds: 1 },
  { clients: 500, rate: RATE, rounds: 5 },
  { clients: 2000, rate: RATE, rounds: 1 },
]

/** What the goals compare. */
const isCompared = ({ server, protocol }: Row): boolean =>
  protocol === 'sse' && (server === 'gateway' || server === 'uws')

async function load(server: Server, row: Row, { clients: count, rate }: Scenario): Promise<Received> {
  const script = { tokens: TOKENS, rate, stamp: true }
  const clients = await Clients.start(server, {
    protocol: row.protocol,
    clients: count,
    script,
    spreadMs: rate > 0 ? 1000 : 0,
  })
  await sleep(WARM_UP_MS)
  const received = await clients.measure(isCompared(row) ? MEASURE_MS.compared : MEASURE_MS.others)
  await clients.stop()
  await sleep(SETTLE_MS)
  return received
}

type Figures = { cpuUs: number; perS: number; lateP50: number; lateP99: number; firstP50: number; firstP99: number }

const figuresOf = ({ ms, events, serverCpuS, lateMs, firstMs }: Received): Figures => ({
  cpuUs: (serverCpuS * 1e6) / events,
  perS: (events * 1000) / ms,
  lateP50: lateMs.p50,
  lateP99: lateMs.p99,
  firstP50: firstMs.p50,
  firstP99: firstMs.p99,
})

/** Each figure's own median over the rounds. */
const medians = (rounds: Figures[]): Figures => {
  const of = (name: keyof Figures): number => median(rounds.map((figures) => figures[name]))
  return {
    cpuUs: of('cpuUs'),
    perS: of('perS'),
    lateP50: of('lateP50'),
    lateP99: of('lateP99'),
    firstP50: of('firstP50'),
    firstP99: of('firstP99'),
  }
}

const title = ({ clients, rate, rounds }: Scenario): string => {
  const pace = rate === 0 ? 'full speed' : `${rate} tokens/s each, ${clients * rate} a second wanted`
  return `${clients} clients, ${pace}${rounds > 1 ? `; medians of ${rounds} rounds for the first two` : ''}`
}

function table({ clients, rate }: Scenario, seen: Map<Row, Figures>): string {
  const figuresNamed = new Map([...seen].map(([{ name }, figures]) => [name, figures]))
  const head = ['server', 'CPU µs/event', 'k events/s', ...(rate > 0 ? ['of wanted'] : [])]
  head.push('late p50 ms', 'late p99 ms', 'first p50 ms', 'first p99 ms', 'CPU / uWS', 'p99 / uWS', 'first / uWS')
  const rows = [...seen].map(([{ name, base }, figures]) => {
    const { cpuUs, perS, lateP50, lateP99, firstP50, firstP99 } = figures
    const bare = figuresNamed.get(base)
    const share = rate > 0 ? [`${((100 * perS) / (clients * rate)).toFixed(1)} %`] : []
    return [
      name,
      cpuUs.toFixed(2),
      (perS / 1000).toFixed(1),
      ...share,
      ...[lateP50, lateP99, firstP50, firstP99].map((ms) => ms.toFixed(ms < 10 ? 2 : 0)),
      ratio(cpuUs, bare?.cpuUs),
      ratio(lateP99, bare?.lateP99),
      ratio(firstP50, bare?.firstP50),
    ]
  })
  return markdown(head, rows)
}

const named = process.argv.slice(2)
const wanted = ROWS.filter(({ server }) => named.length === 0 || named.includes(server))
const servers = new Map<string, Server>()
for (const { server } of wanted) {
  if (servers.has(server)) continue
  if (server === 'gateway') servers.set(server, await BenchGateway.start([]))
  else {
    const why = missing(server)
    if (why === null) servers.set(server, await PeerServer.start(server))
    else process.stdout.write(`\n!!! ${why}\n`)
  }
}
const rows = wanted.filter(({ server }) => servers.has(server))

for (const scenario of SCENARIOS) {
  const seen = new Map<Row, Figures[]>(rows.map((row) => [row, []]))
  for (let round = 0; round < scenario.rounds; round++) {
    for (const row of rows) {
      if (round > 0 && !isCompared(row)) continue
      const server = servers.get(row.server) as Server
      seen.get(row)?.push(figuresOf(await load(server, row, scenario)))
    }
  }
  const figures = new Map([...seen].map(([row, rounds]) => [row, medians(rounds)]))
  process.stdout.write(`\n### ${title(scenario)}\n\n${table(scenario, figures)}`)
}

for (const server of servers.values()) await server.stop()
