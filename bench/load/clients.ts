/**
 * The processes of `sse-clients.ts`, from the side of the benchmark.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { Received } from './sse-clients.js'

const FILE = fileURLToPath(new URL('./sse-clients.js', import.meta.url))

export class Clients {
  readonly #process: ChildProcess

  private constructor(process: ChildProcess) {
    this.#process = process
  }

  /** Returns when every one of them has had a first byte. */
  static async start(port: number, count: number, script: object): Promise<Clients> {
    const process = fork(FILE, [String(port), String(count), JSON.stringify(script)])
    await once(process, 'message')
    return new Clients(process)
  }

  async measure(measureMs: number): Promise<Received> {
    this.#process.send({ measureMs })
    const [received] = (await once(this.#process, 'message')) as [Received]
    return received
  }

  async stop(): Promise<void> {
    const exited = once(this.#process, 'exit')
    this.#process.send('stop')
    await exited
  }
}
