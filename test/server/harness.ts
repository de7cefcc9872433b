/**
 * A real gateway for a test: own port, scripted model, closed when the test ends.
 */
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { createParser } from 'eventsource-parser'
import WebSocket from 'ws'
import type { TaskEvent } from '../../src/core/event.js'
import { type Config, type Running, start } from '../../src/index.js'

/** Loads the scripted model in one worker unless told otherwise; ready when it returns. */
export async function startGateway(t: TestContext, config: Partial<Config> = {}): Promise<Running> {
  const dir = mkdtempSync(join(tmpdir(), 'rejoin-test-'))
  const running = await start({ port: 0, model: ['scripted'], workers: 1, 'drain-ms': 0, 'data-dir': dir, ...config })
  t.after(async () => {
    await running.close()
    rmSync(dir, { recursive: true, force: true })
  })
  await running.ready
  return running
}

/** That a gateway can take again after it was killed: one that the system chose cannot be, for a minute. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

/** The scripted model's prompt as a task request. */
export const scripted = (prompt: Record<string, unknown>, more: Record<string, unknown> = {}): string =>
  JSON.stringify({ prompt: JSON.stringify(prompt), ...more })

export type TaskObject = {
  id: string
  status: string
  last_seq: number
  attempt: number
  queue_position: number | null
  output: { text: string }
  finish_reason: string | null
  usage: { prompt_tokens: number; completion_tokens: number } | null
  error: { code: string; message: string } | null
  expires_at: number | null
  progress: number
}

export const post = (url: string, body: string, headers: Record<string, string> = {}): Promise<Response> =>
  fetch(`${url}/v1/tasks`, { method: 'POST', body, headers })

/** Submits and returns the accepted task. */
export async function submit(url: string, body: string): Promise<TaskObject> {
  const response = await post(url, body)
  if (response.status !== 202) throw new Error(`not accepted: ${response.status} ${await response.text()}`)
  return (await response.json()) as TaskObject
}

/** Waits for the task's end and returns it. */
export async function ended(url: string, id: string): Promise<TaskObject> {
  const response = await fetch(`${url}/v1/tasks/${id}?wait=60`)
  return (await response.json()) as TaskObject
}

/** All events of an SSE response, as its reader's own parser saw them. */
export async function sseEvents(response: Response): Promise<TaskEvent[]> {
  const events: TaskEvent[] = []
  const parser = createParser({ onEvent: ({ data }) => events.push(JSON.parse(data) as TaskEvent) })
  const decoder = new TextDecoder()
  for await (const chunk of response.body ?? []) parser.feed(decoder.decode(chunk as Uint8Array, { stream: true }))
  return events
}

/** An open WebSocket; closed when the test ends. */
export async function openSocket(t: TestContext, url: string, protocols: string[] = []): Promise<WebSocket> {
  const socket = new WebSocket(`${url.replace('http', 'ws')}/v1/ws`, protocols)
  t.after(() => socket.terminate())
  await once(socket, 'open')
  return socket
}

/** The text that all token events together say. */
export const textOf = (events: TaskEvent[]): string =>
  events.map((event) => (event.type === 'token' ? event.text : '')).join('')
