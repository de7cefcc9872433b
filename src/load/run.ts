/**
 * One load test, from its options to its result.
 */
import { setMaxListeners } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { ConfigError } from '../core/options.js'
import type { Client, Setting } from './client.js'
import { Crew, type Member, type Pace } from './crew.js'
import { Measure, type Point } from './measure.js'
import type { LoadOptions } from './options.js'
import { requests } from './prompts.js'
import { JSON_FORMAT, MSGPACK_FORMAT } from './protocols/format.js'
import { OpenAiClient } from './protocols/openai.js'
import { PollClient } from './protocols/poll.js'
import { SocketClient } from './protocols/socket.js'
import { SseClient } from './protocols/sse.js'
import { Random } from './random.js'

export type Result = {
  options: LoadOptions
  measure: Measure
  /** Measured, without the warm-up. */
  seconds: number
  /** Answers that the end of the run cut off. */
  unfinished: number
  /** Of the load test itself: CPU in cores, and the part of the time in which its event loop was busy, 0 … 1. */
  own: { cpu: number; busy: number }
  /** Unix ms. */
  startedAt: number
}

/** How long the clients of a closed run take to begin. */
const SPREAD_MS = 1000
/** For clients to cancel what nobody follows any more. */
const SETTLE_MS = 5000
/** Points of time in a run, about, and the shortest stretch between two. */
const POINTS = { count: 240, minMs: 500 }

/** @param signal ends it early, with what it has
 * @param progress told of every stretch of time
 * @throws ConfigError */
export async function runLoad(
  options: LoadOptions,
  signal: AbortSignal,
  progress: (point: Point, measure: Measure) => void,
): Promise<Result> {
  const pace = paceOf(options)
  const url = urlOf(options)
  const random = new Random(options.seed)
  const measure = new Measure()
  const body = requests(options)
  const headers: Record<string, string> =
    options['api-key'] === '' ? {} : { Authorization: `Bearer ${options['api-key']}` }
  const members: Member[] = Array.from({ length: options.clients }, (_, index) => {
    // Spread evenly over the clients.
    const slow =
      Math.floor(((index + 1) * options['slow-readers']) / 100) > Math.floor((index * options['slow-readers']) / 100)
    return { slow, client: newClient(options, { url, headers, body, measure, random, slow }) }
  })
  const over = new AbortController()
  const stop = AbortSignal.any([signal, over.signal])
  // Every client listens.
  setMaxListeners(0, stop)
  const crew = new Crew(members, measure, pace, random, stop)
  const startedAt = Date.now()
  const warmup = warmupMs(options)
  // Not a task may be begun before it is measured.
  if (warmup === 0) measure.start(performance.now())
  const done = crew.run()
  const cutters =
    options['cut-every'] === 0
      ? []
      : members.map(({ client }) => cutAtRandom(client, measure, random, options['cut-every'], stop))
  if (warmup > 0) {
    await Promise.race([done, sleep(warmup, undefined, { signal: stop }).catch(() => {})])
    measure.start(performance.now())
  }

  const from = performance.now()
  const [cpu, loop] = [process.cpuUsage(), performance.eventLoopUtilization()]
  const everyMs = Math.max(POINTS.minMs, (options.duration * 1000) / POINTS.count)
  const ticker = setInterval(() => progress(measure.point(performance.now()), measure), everyMs)
  await Promise.race([done, sleep(options.duration * 1000, undefined, { signal: stop }).catch(() => {})])
  clearInterval(ticker)
  const to = performance.now()
  if (to - (measure.points.at(-1)?.atS ?? 0) * 1000 - from > everyMs / 2) measure.point(to)
  measure.measuring = false
  const used = process.cpuUsage(cpu)
  const busy = performance.eventLoopUtilization(loop).utilization
  const unfinished = measure.active
  over.abort()
  await Promise.race([Promise.all([crew.settle(), ...cutters]), sleep(SETTLE_MS, undefined, { ref: false })])
  for (const { client } of members) client.close()
  const seconds = (to - from) / 1000
  return {
    options,
    measure,
    seconds,
    unfinished,
    own: { cpu: (used.user + used.system) / 1e6 / seconds, busy },
    startedAt,
  }
}

function newClient({ protocol }: LoadOptions, setting: Setting): Client {
  switch (protocol) {
    case 'ws':
      return new SocketClient(setting, JSON_FORMAT)
    case 'ws-msgpack':
      return new SocketClient(setting, MSGPACK_FORMAT)
    case 'poll':
      return new PollClient(setting)
    case 'openai':
      return new OpenAiClient(setting)
    case 'sse':
      return new SseClient(setting)
    default:
      return protocol satisfies never
  }
}

async function cutAtRandom(
  client: Client,
  measure: Measure,
  random: Random,
  meanS: number,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    await sleep(random.exponential(meanS * 1000), undefined, { signal }).catch(() => {})
    if (signal.aborted) return
    if (client.cut()) measure.cuts++
  }
}

/** All of a given number of tasks are measured. */
const warmupMs = ({ warmup, tasks }: LoadOptions): number => (tasks > 0 ? 0 : warmup * 1000)

/** @throws ConfigError */
function paceOf(options: LoadOptions): Pace {
  const { arrivals, rate, tasks } = options
  if (arrivals !== 'closed' && rate === 0) throw new ConfigError(`--arrivals ${arrivals} needs a --rate`)
  if (arrivals === 'closed' && rate > 0) throw new ConfigError('--rate needs --arrivals uniform or poisson')
  if (options.protocol === 'openai' && options['cut-every'] > 0) {
    throw new ConfigError('--cut-every: the OpenAI protocol has no positions to come back with')
  }
  return {
    arrivals,
    ratePerS: rate,
    maxTasks: tasks === 0 ? null : tasks,
    spreadMs: Math.min(SPREAD_MS, warmupMs(options) / 2),
  }
}

/** @throws ConfigError */
function urlOf({ url }: LoadOptions): URL {
  if (URL.canParse(url) && /^(https?|wss?):/.test(url)) return new URL(url)
  throw new ConfigError(`--url must be like http://HOST:PORT, got ${JSON.stringify(url)}`)
}
