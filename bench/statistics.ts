/**
 * The middle and the edges of what was measured. Without values there is no number: NaN, and never a 0 that looks fast.
 */

/** The value that `percent` of the values do not exceed (nearest rank from above). */
export function percentile(values: readonly number[], percent: number): number {
  const sorted = Float64Array.from(values).sort()
  return sorted[Math.min(sorted.length - 1, Math.floor((sorted.length * percent) / 100))] ?? Number.NaN
}

export const median = (values: readonly number[]): number => percentile(values, 50)

/** Of one thing that was measured many times. */
export type Spread = { count: number; p50: number; p99: number }

export const spreadOf = (values: readonly number[]): Spread => ({
  count: values.length,
  p50: percentile(values, 50),
  p99: percentile(values, 99),
})
