/**
 * Readers in a process of their own: N at a time, each submits a task, reads its stream to the end, and goes on.
 *
 * Forked with the gateway's URL and N. Says `started` when all N have had a first byte; told `stop`, it says how many
 * tasks and events it has read since then, and exits.
 */
const [url = '', count = '1'] = process.argv.slice(2)
const body = JSON.stringify({ prompt: 'Tell me a story about a fox who lost a kite.', max_tokens: 400 })

let stopped = false
let tasks = 0
let events = 0

async function read(onFirst: () => void): Promise<void> {
  const headers = { accept: 'text/event-stream' }
  const response = await fetch(`${url}/v1/tasks`, { method: 'POST', body, headers })
  for await (const chunk of response.body ?? []) {
    onFirst()
    events += countEvents(chunk as Uint8Array)
    if (stopped) return
  }
  tasks++
}

// A frame that two chunks cut in the middle of this line is missed: one in hundreds.
const countEvents = (chunk: Uint8Array): number => Buffer.from(chunk).toString('latin1').split('\nevent: ').length - 1

async function follow(): Promise<void> {
  await new Promise<void>((resolve) => {
    const loop = async (): Promise<void> => {
      while (!stopped) await read(resolve)
    }
    void loop()
  })
}

await Promise.all(Array.from({ length: Number(count) }, follow))
tasks = 0
events = 0
process.send?.('started')
process.once('message', () => {
  stopped = true
  process.send?.({ tasks, events }, () => process.exit(0))
})
