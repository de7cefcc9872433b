/**
 * What a run comes to: the numbers of the table, the page and the JSON, and whether it went well.
 */
import type { Histogram } from '../core/histogram.js'
import type { Times } from './measure.js'
import type { Result } from './run.js'

/** Ms. */
export type Quantiles = { count: number; p50: number; p90: number; p99: number; p999: number; max: number }

export type Summary = {
  seconds: number
  tasks: { begun: number; completed: number; failed: number; unfinished: number; delayed: number }
  tokensPerS: number
  /** Token events as they came: a merged one stands for several tokens. */
  eventsPerS: number
  tasksPerS: number
  bytesPerS: number
  times: Record<keyof Times, Quantiles>
  cuts: number
  resumes: number
  /** Null where the protocol has no positions, so that nobody can tell. */
  lost: number | null
  repeated: number | null
  errors: Record<string, number>
  own: { cpu: number; busy: number }
  /** What the numbers do not say by themselves, in words. */
  warnings: string[]
}

/** Of the time in which the load test's own event loop works: above it, it measures itself. */
const BUSY = 0.9
const FINISHED_WELL = ['completed', 'stop', 'length', 'done']

export function summarize({ options, measure, seconds, unfinished, own }: Result): Summary {
  const { times, ends, errors, begun, delayed, tokens, events, bytes, cuts, resumes, lost, repeated } = measure
  const hasPositions = options.protocol !== 'openai'
  const all = [...ends.values()].reduce((sum, count) => sum + count, 0)
  const completed = FINISHED_WELL.reduce((sum, type) => sum + (ends.get(type) ?? 0), 0)
  const summary: Summary = {
    seconds,
    tasks: { begun, completed, failed: all - completed, unfinished, delayed },
    tokensPerS: tokens / seconds,
    eventsPerS: events / seconds,
    tasksPerS: all / seconds,
    bytesPerS: bytes / seconds,
    times: {
      firstToken: quantiles(times.firstToken),
      gap: quantiles(times.gap),
      lateness: quantiles(times.lateness),
      total: quantiles(times.total),
      resume: quantiles(times.resume),
    },
    cuts,
    resumes,
    lost: hasPositions ? lost : null,
    repeated: hasPositions ? repeated : null,
    errors: Object.fromEntries(errors),
    own,
    warnings: [],
  }
  summary.warnings = warnings(summary, options.clients)
  return summary
}

/** Nothing was lost or repeated, and something was done. */
export const wentWell = ({ lost, repeated, tasks, eventsPerS }: Summary): boolean =>
  (lost ?? 0) === 0 && (repeated ?? 0) === 0 && (tasks.completed > 0 || eventsPerS > 0)

function warnings({ own, tasks, lost, repeated }: Summary, clients: number): string[] {
  const found: string[] = []
  if ((lost ?? 0) + (repeated ?? 0) > 0) found.push(`${lost} events were lost and ${repeated} came twice.`)
  if (own.busy > BUSY) {
    found.push(
      `The load test itself was busy for ${Math.round(own.busy * 100)} % of the time: these numbers tell of it rather than of the server. Use fewer clients, or several machines.`,
    )
  }
  if (tasks.delayed > 0) {
    found.push(
      `${tasks.delayed} tasks were begun late, because all ${clients} clients were busy: the server did not keep up with the rate. Their waiting is in the times.`,
    )
  }
  return found
}

const quantiles = (histogram: Histogram): Quantiles => ({
  count: histogram.count,
  p50: histogram.quantile(0.5),
  p90: histogram.quantile(0.9),
  p99: histogram.quantile(0.99),
  p999: histogram.quantile(0.999),
  max: histogram.max,
})

/** As people read it: `0.42 ms`, `12 ms`, `3.4 s`. */
export function shownMs(ms: number): string {
  if (ms >= 10_000) return `${(ms / 1000).toFixed(0)} s`
  if (ms >= 1000) return `${(ms / 1000).toFixed(2)} s`
  return `${ms.toFixed(ms >= 100 ? 0 : ms >= 10 ? 1 : 2)} ms`
}

/** `1,234`, `12.3 k`, `4.56 M`. */
export function shownCount(value: number): string {
  if (value >= 1e6) return `${(value / 1e6).toFixed(2)} M`
  if (value >= 1e4) return `${(value / 1e3).toFixed(1)} k`
  return value >= 100 || Number.isInteger(value) ? Math.round(value).toLocaleString('en-US') : value.toFixed(1)
}

export const NAMES: Record<keyof Times, string> = {
  firstToken: 'time to first token',
  gap: 'gap between tokens',
  lateness: 'lateness of tokens',
  total: 'whole answer',
  resume: 'coming back',
}
