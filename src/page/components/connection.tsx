/**
 * How the connection is doing, and the plug that can be pulled to see an answer come back.
 */
import { useSignal, useSignalEffect } from '@preact/signals'
import type { ConnectionState } from '../../client/index.js'
import { connection, setPlug, unplugged } from '../gateway.js'
import { Icon } from './icon.jsx'

const TRANSPORTS = { websocket: 'WebSocket', sse: 'event stream', poll: 'long poll' } as const

export function Connection() {
  return (
    <div class="connection">
      <Indicator />
      <button
        type="button"
        role="switch"
        class="plug"
        aria-checked={unplugged.value}
        title="Cuts the connection on purpose. The answer goes on at the gateway; plug in again and the page catches up."
        onClick={() => setPlug(!unplugged.value)}
      >
        <Icon name="plug" />
        <span>{unplugged.value ? 'Plug it in' : 'Pull the plug'}</span>
      </button>
    </div>
  )
}

function Indicator() {
  const state = connection.value
  const seconds = useCountdown()
  const { kind, text } = shown(state, unplugged.value, seconds.value)
  return (
    <p class={`indicator ${kind}`} role="status" title={state.reason ?? ''}>
      <span class="dot" aria-hidden="true" />
      <span class="indicator-text">{text}</span>
    </p>
  )
}

function shown({ status, transport }: ConnectionState, out: boolean, seconds: number): { kind: string; text: string } {
  if (out) return { kind: 'off', text: 'Unplugged' }
  const over = transport === null ? '' : TRANSPORTS[transport]
  switch (status) {
    case 'live':
      return { kind: 'live', text: `Live, ${over}` }
    case 'rejoining':
      return { kind: 'busy', text: seconds > 0 ? `Rejoining in ${seconds} s …` : 'Rejoining …' }
    case 'connecting':
      return { kind: 'busy', text: seconds > 0 ? `Trying again in ${seconds} s …` : 'Connecting …' }
    case 'unplugged':
      return { kind: 'off', text: 'Unplugged' }
    case 'idle':
      return { kind: 'idle', text: 'Ready' }
    default:
      return status satisfies never
  }
}

/** Whole seconds until the next try. */
function useCountdown() {
  const seconds = useSignal(0)
  useSignalEffect(() => {
    const { retryInMs } = connection.value
    const until = performance.now() + (retryInMs ?? 0)
    const tick = (): void => {
      seconds.value = Math.max(0, Math.ceil((until - performance.now()) / 1000))
      if (seconds.peek() === 0) clearInterval(timer)
    }
    const timer = setInterval(tick, 250)
    tick()
    return () => clearInterval(timer)
  })
  return seconds
}
