/**
 * A server that a benchmark loads, in a process of its own: what the clients need of it, and how one is started.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import type { Others } from './job.js'

/** Servers that run: none of them outlives the benchmark, however it ends. */
const running = new Set<ChildProcess>()
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL')
})

export interface Server {
  readonly port: number
  readonly pid: number
  readonly others: Others
  stop(): Promise<void>
}

/** A process that has said where it listens and that it is ready, as the gateway does and the peers do. */
export async function startProcess(
  command: string,
  args: string[],
  options: { cwd?: string } = {},
): Promise<{ child: ChildProcess; port: number }> {
  const child = spawn(command, args, { ...options, stdio: ['ignore', 'pipe', 'inherit'] })
  running.add(child)
  child.once('exit', () => running.delete(child))
  let port = 0
  for await (const line of createInterface({ input: child.stdout })) {
    port = Number(/listens on .*:(\d+)$/.exec(line)?.[1] ?? port)
    if (line === 'Ready.') break
  }
  // Or what it says later would fill the pipe, and then it waits.
  child.stdout.resume()
  if (port === 0) throw new Error(`${command} ${args.join(' ')} did not start`)
  return { child, port }
}

export async function endProcess(child: ChildProcess, signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exited = once(child, 'exit')
  child.kill(signal)
  await exited
}
