/**
 * `import { Rejoin } from 'rejoin/client'`: what the client gives.
 */
export { isTerminal, type TaskEvent } from '../core/event.js'
export type { TaskStatus } from '../core/task.js'
export type { TaskObject } from '../wire/json.js'
export type { TaskRequest } from '../wire/request.js'
export { RejoinError } from './errors.js'
export type { ConnectionState } from './indicator.js'
export type { StorageLike } from './memory.js'
export { type AttachOptions, Rejoin, type RejoinOptions, type RunOptions } from './rejoin.js'
export type { Run } from './run.js'
export type { TransportName } from './transport.js'
