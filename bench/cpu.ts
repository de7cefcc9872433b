/**
 * CPU time of another process, all its threads: what a server costs, whatever it waits for.
 *
 * From /proc/PID/stat (proc(5)), so Linux only, in steps of 10 ms: a window of seconds is good to about a percent. Nothing
 * of what the kernel does for the process outside its own system calls and interrupts is in there.
 */
import { readFileSync } from 'node:fs'

/** USER_HZ, which Linux has fixed at 100 for what it shows in /proc. */
const TICKS_PER_S = 100

/** User and system seconds of all its threads, since the process began. */
export const cpuSeconds = (pid: number): number => fromStat(`/proc/${pid}/stat`)

/** The same, of this process's main thread alone: its id is that of the process. */
export const mainThreadCpuSeconds = (): number => fromStat(`/proc/self/task/${process.pid}/stat`)

function fromStat(path: string): number {
  const stat = readFileSync(path, 'latin1')
  // The name, in parentheses, may hold anything; utime and stime are fields 14 and 15, the 12th and 13th after it.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_S
}
