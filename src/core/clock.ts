/**
 * The clock by which processes of one machine can compare when something happened.
 */

/** Microseconds since the machine started (CLOCK_MONOTONIC). */
export function monotonicUs(): number {
  const [seconds, nanoseconds] = process.hrtime()
  return seconds * 1e6 + nanoseconds / 1e3
}
