/**
 * A gateway in a process of its own, as a user starts it, with the scripted model and a data directory of its own.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const CLI = fileURLToPath(new URL('../../src/cli.js', import.meta.url))

export class BenchGateway {
  readonly dir: string
  readonly port: number
  /** From the start of the process. */
  readonly readyMs: number
  readonly #process: ChildProcess
  readonly #ownDir: boolean

  private constructor(dir: string, ownDir: boolean, port: number, readyMs: number, process: ChildProcess) {
    this.dir = dir
    this.port = port
    this.readyMs = readyMs
    this.#process = process
    this.#ownDir = ownDir
  }

  /** Ready when it returns. @param given a data directory that is there, and stays */
  static async start(options: string[], given?: string): Promise<BenchGateway> {
    const dir = given ?? mkdtempSync(join(tmpdir(), 'rejoin-bench-'))
    const args = [
      '--port',
      '0',
      '--model',
      'scripted',
      '--workers',
      '1',
      '--data-dir',
      dir,
      '--drain-ms',
      '0',
      ...options,
    ]
    const from = performance.now()
    const child = spawn(process.execPath, [CLI, ...args], { stdio: ['ignore', 'pipe', 'inherit'] })
    let port = 0
    for await (const line of createInterface({ input: child.stdout })) {
      port = Number(/listens on .*:(\d+)$/.exec(line)?.[1] ?? port)
      if (line === 'Ready.') break
    }
    if (port === 0) throw new Error('the gateway did not start')
    return new BenchGateway(dir, given === undefined, port, performance.now() - from, child)
  }

  get pid(): number {
    return this.#process.pid as number
  }

  async stop(signal: 'SIGTERM' | 'SIGKILL' = 'SIGTERM'): Promise<void> {
    const exited = once(this.#process, 'exit')
    this.#process.kill(signal)
    await exited
    if (this.#ownDir) rmSync(this.dir, { recursive: true, force: true })
  }
}
