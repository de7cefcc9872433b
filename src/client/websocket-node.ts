/**
 * The WebSocket of Node: its own where it has one (from Node 22), and that of `ws` where it has none.
 */
import WebSocket from 'ws'
import type { SocketConstructor } from './socket.js'

const own = (globalThis as { WebSocket?: SocketConstructor }).WebSocket

export const SystemWebSocket: SocketConstructor | null = own ?? (WebSocket as unknown as SocketConstructor)
