/**
 * The thread of the archive: one call after another, each answered; an error is an answer, too.
 */
import { parentPort, workerData } from 'node:worker_threads'
import { ArchiveStore } from './archive-store.js'
import type { ArchiveCall, ArchiveReply, ArchiveStart } from './disk-archive.js'

if (parentPort === null) throw new Error('archive-worker.js is the entry of a worker thread')
const port = parentPort
const { path, retention } = workerData as ArchiveStart
let store: ArchiveStore | null = null

port.on('message', async ({ number, call }: { number: number; call: ArchiveCall }) => {
  let reply: ArchiveReply
  try {
    reply = { number, value: await perform(call) }
  } catch (error) {
    reply = { number, error: (error as Error).message }
  }
  port.postMessage(reply)
  if (call.op === 'close') port.close()
})

async function perform(call: ArchiveCall): Promise<unknown> {
  store ??= new ArchiveStore(path, retention)
  switch (call.op) {
    case 'open':
      return store.opened()
    case 'known':
      return store.known(call.ids)
    case 'commit':
      return store.commit(call.commit, call.now)
    case 'find':
      return store.find(call.id)
    case 'list':
      return store.list(call.owner, call.before, call.limit, call.status)
    case 'remove':
      return store.remove(call.id)
    case 'sweep':
      return store.sweep(call.now)
    case 'close':
      return store.close()
    default:
      return call satisfies never
  }
}
