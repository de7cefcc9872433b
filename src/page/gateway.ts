/**
 * The page's one client of the gateway that served it, and how its connection is doing.
 */
import { signal } from '@preact/signals'
import { Rejoin, RejoinError } from '../client/index.js'
import { apiKey } from './store.js'

export const unplugged = signal(false)
/** That are served, the default one first. */
export const models = signal<string[]>([])
/** The gateway refuses the key, or that there is none. */
export const keyWanted = signal(false)

export const gateway = new Rejoin({
  apiKey: () => apiKey.value || undefined,
  storage: null,
  onState: (state) => {
    connection.value = state
  },
})

export const connection = signal(gateway.state)

export function setPlug(out: boolean): void {
  unplugged.value = out
  if (out) gateway.unplug()
  else gateway.plug()
}

/** Again when the key has changed. */
export async function loadModels(): Promise<void> {
  try {
    models.value = await gateway.models()
    keyWanted.value = false
  } catch (error) {
    noteRefusal(error)
  }
}

export function noteRefusal(error: unknown): void {
  if (error instanceof RejoinError && error.status === 401) keyWanted.value = true
}
