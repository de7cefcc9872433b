/**
 * A peer (`bench/peers/`) in a process of its own.
 */
import { type ChildProcess, spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { Others } from './job.js'
import { endProcess, type Server, startProcess } from './server.js'

export const PEERS = ['uws', 'uws-log', 'fastify', 'ws', 'socketio', 'fastapi'] as const
export type Peer = (typeof PEERS)[number]

/** That of the system: its packages are those that a distribution has, and no environment of somebody's. */
const PYTHON = '/usr/bin/python3'
// From dist/bench/load to the sources: Python is not built.
const FASTAPI = fileURLToPath(new URL('../../../bench/peers/fastapi-queues.py', import.meta.url))

/** Why a peer cannot be started here, in a sentence; null when it can. */
export function missing(peer: Peer): string | null {
  if (peer !== 'fastapi') return null
  const { status } = spawnSync(PYTHON, ['-c', 'import fastapi, uvicorn'], { stdio: 'ignore' })
  return status === 0
    ? null
    : `FastAPI is left out: ${PYTHON} has no fastapi and uvicorn (python3-fastapi, python3-uvicorn)`
}

export class PeerServer implements Server {
  readonly port: number
  readonly others: Others = { before: 0, among: 0 }
  readonly #process: ChildProcess

  private constructor(port: number, process: ChildProcess) {
    this.port = port
    this.#process = process
  }

  /** @param node options of Node, where it is one of its programs */
  static async start(peer: Peer, node: string[] = []): Promise<PeerServer> {
    const file = fileURLToPath(new URL(`../peers/${peer}.js`, import.meta.url))
    const [command, args] = peer === 'fastapi' ? [PYTHON, [FASTAPI]] : [process.execPath, [...node, file]]
    const { port, child } = await startProcess(command, args)
    return new PeerServer(port, child)
  }

  get pid(): number {
    return this.#process.pid as number
  }

  stop(): Promise<void> {
    return endProcess(this.#process, 'SIGTERM')
  }
}
