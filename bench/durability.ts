/**
 * What durability costs whoever reads: events delivered a second, and how late a token is, with the journal and without.
 *
 * `npm run bench -- durability`. A gateway each with `none`, `process` and `disk`, loaded in turn, several rounds. At full
 * speed: 100 SSE streams of 200 tokens, task after task. At 50 tokens a second: 500 streams, lateness from the moment at
 * which a token fell due to its bytes at the client. Bad: `process` under 0.9 of `none`, or more than 3 ms later at the median.
 */

import { percentile } from './journal/percentile.js'
import { Clients } from './load/clients.js'
import { BenchGateway } from './load/gateway.js'

const KINDS = ['none', 'process', 'disk'] as const
type Kind = (typeof KINDS)[number]
const ROUNDS = 3
const FULL_SPEED = { streams: 100, script: { tokens: 200 }, measureMs: 4000 }
const PACED = { streams: 500, script: { tokens: 1000, rate: 50, stamp: true }, measureMs: 4000 }

const median = (values: number[]): number => percentile(values, 50)

async function fullSpeed(gateway: BenchGateway): Promise<number> {
  const clients = await Clients.start(gateway.port, FULL_SPEED.streams, FULL_SPEED.script)
  const { tasks } = await clients.measure(FULL_SPEED.measureMs)
  await clients.stop()
  return (tasks * FULL_SPEED.script.tokens * 1000) / FULL_SPEED.measureMs
}

async function lateness(gateway: BenchGateway): Promise<{ p50: number; p99: number }> {
  const clients = await Clients.start(gateway.port, PACED.streams, PACED.script)
  const { latenessMs } = await clients.measure(PACED.measureMs)
  await clients.stop()
  return { p50: percentile(latenessMs, 50), p99: percentile(latenessMs, 99) }
}

const gateways = new Map<Kind, BenchGateway>()
for (const kind of KINDS) gateways.set(kind, await BenchGateway.start(['--durability', kind]))
const seen = new Map(KINDS.map((kind) => [kind, { perS: [] as number[], p50: [] as number[], p99: [] as number[] }]))
for (let round = 0; round < ROUNDS; round++) {
  for (const [kind, gateway] of gateways) {
    const of = seen.get(kind)
    of?.perS.push(await fullSpeed(gateway))
    const { p50, p99 } = await lateness(gateway)
    of?.p50.push(p50)
    of?.p99.push(p99)
  }
}
for (const gateway of gateways.values()) await gateway.stop()

const none = seen.get('none')
process.stdout.write(
  '| durability | events/s at full speed | of none | late at 50 tokens/s: p50 | more than none | p99 |\n',
)
process.stdout.write('| --- | --- | --- | --- | --- | --- |\n')
for (const [kind, { perS, p50, p99 }] of seen) {
  const ratio = median(perS) / median(none?.perS ?? [])
  const later = median(p50) - median(none?.p50 ?? [])
  process.stdout.write(
    `| ${kind} | ${Math.round(median(perS) / 1000)} k | ${ratio.toFixed(2)} | ${median(p50).toFixed(2)} ms | ${later.toFixed(2)} ms | ${median(p99).toFixed(1)} ms |\n`,
  )
}
