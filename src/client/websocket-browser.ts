/**
 * The WebSocket of a browser; null where there is none.
 */
import type { SocketConstructor } from './socket.js'

export const SystemWebSocket: SocketConstructor | null =
  (globalThis as { WebSocket?: SocketConstructor }).WebSocket ?? null
