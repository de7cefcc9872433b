/**
 * The result for a terminal.
 */
import type { Times } from './measure.js'
import { NAMES, type Quantiles, type Summary, shownCount, shownMs } from './summary.js'

const LABEL = 22
const CELL = 10

export function table(summary: Summary): string {
  const { tasks, times, errors, own, lost, repeated } = summary
  const line = (label: string, ...cells: string[]): string =>
    `${label.padEnd(LABEL)}${cells.map((cell) => cell.padStart(CELL)).join('')}`
  const counted = Object.entries(errors).map(([code, count]) => `${code} ${count}`)
  const told = (value: number | null): string => (value === null ? 'not known' : shownCount(value))
  return [
    '',
    line('throughput', `${shownCount(summary.tokensPerS)}`, ' tokens/s', shownCount(summary.tasksPerS), ' tasks/s'),
    `${' '.repeat(LABEL)}${(summary.tokensPerS / Math.max(1, summary.eventsPerS)).toFixed(2)} tokens an event, ${shownCount(summary.bytesPerS / 1e6)} MB/s`,
    line('', 'p50', 'p90', 'p99', 'p99.9', 'max'),
    ...(Object.keys(NAMES) as (keyof Times)[]).flatMap((what) => row(line, NAMES[what], times[what])),
    line('tasks', shownCount(tasks.completed), ' completed'),
    ...(tasks.failed > 0 ? [line('', shownCount(tasks.failed), ' otherwise')] : []),
    ...(tasks.unfinished > 0 ? [line('', shownCount(tasks.unfinished), ' cut off by the end of the run')] : []),
    line('connections', shownCount(summary.cuts), ' cut', shownCount(summary.resumes), ' resumed'),
    line('events', told(lost), ' lost', told(repeated), ' repeated'),
    `${'errors'.padEnd(LABEL)}  ${counted.length === 0 ? 'none' : counted.join(', ')}`,
    `${'the load test itself'.padEnd(LABEL)}  ${own.cpu.toFixed(2)} cores, busy ${Math.round(own.busy * 100)} % of the time`,
    ...summary.warnings.map((warning) => `\nWarning: ${warning}`),
    '',
  ].join('\n')
}

function row(line: (label: string, ...cells: string[]) => string, label: string, quantiles: Quantiles): string[] {
  if (quantiles.count === 0) return []
  const { p50, p90, p99, p999, max } = quantiles
  return [line(label, ...[p50, p90, p99, p999, max].map(shownMs))]
}
