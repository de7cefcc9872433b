/**
 * What durability costs whoever reads: events delivered a second, and how late a token is, with the journal and without.
 *
 * `npm run bench -- durability`. A gateway each with `none`, `process` and `disk`, loaded in turn, several rounds. At full
 * speed: 100 SSE streams of 200 tokens, task after task. At 50 tokens a second: 2,000 streams, how many tokens come, and
 * 500, how late they are, from the moment at which a token fell due to its bytes at the client. Bad: `process` under 0.9 of
 * `none`, or more than 3 ms later at the median.
 */
import { Clients } from './load/clients.js'
import { BenchGateway } from './load/gateway.js'
import { median } from './statistics.js'

const KINDS = ['none', 'process', 'disk'] as const
type Kind = (typeof KINDS)[number]
const ROUNDS = 3
const FULL_SPEED = { streams: 100, script: { tokens: 200 }, measureMs: 3000 }
const DENSE = { streams: 2000, script: { tokens: 1000, rate: 50, stamp: true }, measureMs: 3000 }
const PACED = { streams: 500, script: { tokens: 1000, rate: 50, stamp: true }, measureMs: 3000 }
/** Over which streams begin, so that not all their tokens are due at the same moments. */
const SPREAD_MS = 1000

/** Lateness in ms, and tokens a second of all clients. */
async function load(
  gateway: BenchGateway,
  { streams, script, measureMs }: typeof FULL_SPEED | typeof PACED,
): Promise<{ p50: number; p99: number; perS: number }> {
  const clients = await Clients.start(gateway, { protocol: 'sse', clients: streams, script, spreadMs: SPREAD_MS })
  const { events, ms, lateMs } = await clients.measure(measureMs)
  await clients.stop()
  return { p50: lateMs.p50, p99: lateMs.p99, perS: (events * 1000) / ms }
}

const gateways = new Map<Kind, BenchGateway>()
for (const kind of KINDS) gateways.set(kind, await BenchGateway.start(['--durability', kind]))
const seen = new Map(
  KINDS.map((kind) => [
    kind,
    { perS: [] as number[], dense: [] as number[], p50: [] as number[], p99: [] as number[] },
  ]),
)
for (let round = 0; round < ROUNDS; round++) {
  for (const [kind, gateway] of gateways) {
    const of = seen.get(kind)
    of?.perS.push((await load(gateway, FULL_SPEED)).perS)
    of?.dense.push((await load(gateway, DENSE)).perS)
    const { p50, p99 } = await load(gateway, PACED)
    of?.p50.push(p50)
    of?.p99.push(p99)
  }
}
for (const gateway of gateways.values()) await gateway.stop()

const none = seen.get('none')
process.stdout.write(
  '| durability | full speed, events/s | of none | 2,000 x 50 tokens/s | of none | 500 x 50: late p50 | more than none | p99 |\n',
)
process.stdout.write('| --- | --- | --- | --- | --- | --- | --- | --- |\n')
const thousands = (value: number): string => `${Math.round(value / 1000)} k`
for (const [kind, { perS, dense, p50, p99 }] of seen) {
  const cells = [
    kind,
    thousands(median(perS)),
    (median(perS) / median(none?.perS ?? [])).toFixed(2),
    thousands(median(dense)),
    (median(dense) / median(none?.dense ?? [])).toFixed(2),
    `${median(p50).toFixed(2)} ms`,
    `${(median(p50) - median(none?.p50 ?? [])).toFixed(2)} ms`,
    `${median(p99).toFixed(1)} ms`,
  ]
  process.stdout.write(`| ${cells.join(' | ')} |\n`)
}
