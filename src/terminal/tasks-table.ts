/**
 * Tasks as lines of a terminal.
 */
import type { TaskObject } from '../client/index.js'

const HEAD = ['TASK', 'STATUS', 'MODEL', 'AGE', 'TOKENS', 'TEXT']
/** Of a terminal that does not say. */
const COLUMNS = 120

/** @param now unix ms
 * @param columns of the terminal: lines are cut there */
export function tasksTable(tasks: readonly TaskObject[], now: number, columns = COLUMNS): string {
  const rows = [
    HEAD,
    ...tasks.map(({ id, status, model, created_at, usage, output }) => [
      id,
      status,
      model,
      ageOf(now - created_at),
      usage === null ? '–' : String(usage.completion_tokens),
      output.text.replaceAll(/\s+/g, ' ').trim(),
    ]),
  ]
  const widths = HEAD.map((_, column) => Math.max(...rows.map((row) => (row[column] as string).length)))
  return rows.map((row) => `${line(row, widths).slice(0, columns).trimEnd()}\n`).join('')
}

const line = (row: readonly string[], widths: readonly number[]): string =>
  row.map((cell, column) => (column < row.length - 1 ? cell.padEnd(widths[column] as number) : cell)).join('  ')

function ageOf(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000))
  if (seconds < 60) return `${seconds} s`
  if (seconds < 3600) return `${Math.round(seconds / 60)} min`
  return seconds < 172_800 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86_400)} d`
}
