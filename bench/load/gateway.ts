/**
 * A gateway in a process of its own, as a user starts it, with the scripted model and a data directory of its own.
 */
import type { ChildProcess } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Others } from './job.js'
import { endProcess, type Server, startProcess } from './server.js'

const CLI = fileURLToPath(new URL('../../src/cli.js', import.meta.url))

/** As `npm start` and `npx rejoin` have it. */
const NODE = ['--initial-heap-size=256']

export class BenchGateway implements Server {
  readonly dir: string
  readonly port: number
  /** From the start of the process. */
  readonly readyMs: number
  /** `queued` and `started`, and four `progress`. */
  readonly others: Others = { before: 2, among: 4 }
  readonly #process: ChildProcess
  readonly #ownDir: boolean

  private constructor(dir: string, ownDir: boolean, port: number, readyMs: number, process: ChildProcess) {
    this.dir = dir
    this.port = port
    this.readyMs = readyMs
    this.#process = process
    this.#ownDir = ownDir
  }

  /**
   * Ready when it returns.
   * @param given a data directory that is there, and stays
   * @param node options of Node itself
   */
  static async start(options: string[], given?: string, node: string[] = []): Promise<BenchGateway> {
    const dir = given ?? mkdtempSync(join(tmpdir(), 'rejoin-bench-'))
    const usual = ['--port', '0', '--model', 'scripted', '--workers', '1', '--data-dir', dir, '--drain-ms', '0']
    const from = performance.now()
    const { child, port } = await startProcess(process.execPath, [...NODE, ...node, CLI, ...usual, ...options])
    return new BenchGateway(dir, given === undefined, port, performance.now() - from, child)
  }

  get pid(): number {
    return this.#process.pid as number
  }

  async stop(signal: 'SIGTERM' | 'SIGKILL' = 'SIGTERM'): Promise<void> {
    await endProcess(this.#process, signal)
    if (this.#ownDir) rmSync(this.dir, { recursive: true, force: true })
  }
}
