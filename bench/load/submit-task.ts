/**
 * One task that nobody follows yet, for benchmarks whose clients all follow the same.
 */
import type { Script } from './job.js'
import type { Server } from './server.js'

export async function submitTask(server: Server, script: Script): Promise<string> {
  const response = await fetch(`http://127.0.0.1:${server.port}/v1/tasks`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ prompt: JSON.stringify(script) }),
  })
  if (response.status !== 202) throw new Error(`no task: ${response.status} ${await response.text()}`)
  return ((await response.json()) as { id: string }).id
}
