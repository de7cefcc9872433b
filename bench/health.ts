/**
 * Whether delivery leaves the event loop to others: how soon health checks, new tasks and cancels are answered beside
 * 2,000 streams at 50 tokens a second.
 *
 * `npm run bench -- health`. One keep-alive connection that asks one thing after another, at rest and under that load; the delay of
 * the event loop is the gateway's own, from /metrics, since the load began. Bad: over 50 ms at p99.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { Clients } from './load/clients.js'
import { BenchGateway } from './load/gateway.js'
import { markdown } from './load/table.js'
import { percentile } from './statistics.js'

const CLIENTS = 2000
const SCRIPT = { tokens: 1000, rate: 50 }
const CHECKS = { health: 200, tasks: 50, everyMs: 10 }
const WARM_UP_MS = 1000

type Took = { health: number[]; post: number[]; cancel: number[]; lagP99Ms: number }

async function took(url: string): Promise<Took> {
  const seen = { health: [] as number[], post: [] as number[], cancel: [] as number[] }
  const ask = async (times: number[] | null, path: string, init: RequestInit = {}): Promise<string> => {
    await sleep(CHECKS.everyMs)
    const from = performance.now()
    const text = await (await fetch(url + path, init)).text()
    times?.push(performance.now() - from)
    return text
  }
  const lag = async (): Promise<number> =>
    Number(/^nodejs_eventloop_lag_p99_seconds (\S+)$/m.exec(await ask(null, '/metrics'))?.[1]) * 1000
  // Each look begins a new measurement.
  await lag()
  for (let i = 0; i < CHECKS.health; i++) await ask(seen.health, '/healthz')
  for (let i = 0; i < CHECKS.tasks; i++) {
    const body = JSON.stringify({ prompt: JSON.stringify({ tokens: 1000, rate: 1 }) })
    const { id } = JSON.parse(await ask(seen.post, '/v1/tasks', { method: 'POST', body })) as { id: string }
    await ask(seen.cancel, `/v1/tasks/${id}`, { method: 'DELETE' })
  }
  return { ...seen, lagP99Ms: await lag() }
}

const cells = (name: string, { health, post, cancel, lagP99Ms }: Took): string[] => [
  name,
  ...[health, post, cancel].flatMap((times) => [50, 99].map((percent) => percentile(times, percent).toFixed(1))),
  lagP99Ms.toFixed(1),
]

const gateway = await BenchGateway.start([])
const url = `http://127.0.0.1:${gateway.port}`
const rest = await took(url)
const clients = await Clients.start(gateway, { protocol: 'sse', clients: CLIENTS, script: SCRIPT, spreadMs: 1000 })
await sleep(WARM_UP_MS)
const loaded = await took(url)
await clients.stop()
await gateway.stop()

const head = ['ms', '/healthz p50', 'p99', 'POST p50', 'p99', 'DELETE p50', 'p99', 'loop delay p99']
process.stdout.write(
  `\n${markdown(head, [cells('at rest', rest), cells(`${CLIENTS} streams x ${SCRIPT.rate} tokens/s`, loaded)])}`,
)
