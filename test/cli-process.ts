/**
 * The real command line in a process of its own.
 */
import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Readable, Writable } from 'node:stream'
import type { TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'

export const CLI = fileURLToPath(new URL('../src/cli.js', import.meta.url))

export const tempFolder = (t: TestContext): string => {
  const folder = mkdtempSync(join(tmpdir(), 'rejoin-cli-'))
  t.after(() => rmSync(folder, { recursive: true, force: true, maxRetries: 5 }))
  return folder
}

/** A `rejoin` process, killed when the test ends if it has not ended before. */
export class Cli {
  readonly child: ChildProcessByStdio<Writable, Readable, Readable>
  stdout = ''
  stderr = ''
  readonly #exit: Promise<{ code: number | null; signal: string | null }>

  constructor(t: TestContext, args: string[], env: Record<string, string> = {}, input = '') {
    const { PATH = '' } = process.env
    // Each in a folder of its own, where its data is.
    const cwd = tempFolder(t)
    this.child = spawn(process.execPath, [CLI, ...args], {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { PATH, ...env },
      cwd,
    })
    this.child.stdout.setEncoding('utf8').on('data', (text: string) => {
      this.stdout += text
    })
    this.child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text
    })
    // A process that takes no input may be gone before it gets some.
    this.child.stdin.on('error', () => {})
    this.child.stdin.end(input)
    this.#exit = once(this.child, 'close').then(([code, signal]) => ({ code, signal }))
    t.after(() => this.child.kill('SIGKILL'))
  }

  /** Its exit code; null when a signal ended it. */
  async exit(): Promise<number | null> {
    return (await this.#exit).code
  }

  async said(text: string): Promise<void> {
    while (!this.stdout.includes(text)) {
      const ended = await Promise.race([once(this.child.stdout, 'data').then(() => false), this.#exit.then(() => true)])
      if (ended && !this.stdout.includes(text)) throw new Error(`ended without ${text}: ${this.stdout}${this.stderr}`)
    }
  }

  async url(): Promise<string> {
    await this.said('Models: ')
    return /listens on (\S+)/.exec(this.stdout)?.[1] ?? ''
  }
}
