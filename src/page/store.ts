/**
 * What the page knows, as signals, kept in the browser: conversations, settings, the key.
 *
 * Each conversation has an entry of its own in `localStorage`, so that two tabs overwrite each other's only where both
 * change the same one; a change in another tab comes in by the `storage` event.
 */
import { computed, signal } from '@preact/signals'
import { type Conversation, DEFAULTS, newConversation, type Settings } from './conversation.js'

const PREFIX = 'rejoin.conversation.'
const SETTINGS = 'rejoin.settings'
const THEME = 'rejoin.theme'
const KEY = 'rejoin.key'
/** The one that was used least lately goes first. */
const MAX_CONVERSATIONS = 100

export type Theme = 'auto' | 'light' | 'dark'

export const newId = (): string =>
  Array.from(crypto.getRandomValues(new Uint8Array(9)), (byte) => byte.toString(36).padStart(2, '0')).join('')

export const conversations = signal<ReadonlyMap<string, Conversation>>(readAll())
export const settings = signal<Settings>({ ...DEFAULTS, ...read<Partial<Settings>>(SETTINGS) })
export const theme = signal<Theme>(read<Theme>(THEME) ?? 'auto')
export const apiKey = signal(sessionStorage.getItem(KEY) ?? '')
/** Of the conversation that is shown; in the address, so that a reload and the back button find it. */
export const currentId = signal(location.hash.slice(1) || newId())

export const current = computed(() => conversations.value.get(currentId.value) ?? newConversation(currentId.value, 0))
/** Newest first. */
export const listed = computed(() => [...conversations.value.values()].sort((a, b) => b.updatedAt - a.updatedAt))

/** As it is in the storage, which another tab may have changed a moment ago; where there is none, as this tab has it. */
export const kept = (id: string): Conversation | undefined =>
  read<Conversation>(PREFIX + id) ?? conversations.peek().get(id)

export function save(conversation: Conversation): void {
  const next = new Map(conversations.value).set(conversation.id, conversation)
  for (const { id } of [...next.values()].sort((a, b) => b.updatedAt - a.updatedAt).slice(MAX_CONVERSATIONS)) {
    next.delete(id)
    localStorage.removeItem(PREFIX + id)
  }
  conversations.value = next
  write(PREFIX + conversation.id, conversation)
}

export function remove(id: string): void {
  const next = new Map(conversations.value)
  next.delete(id)
  conversations.value = next
  localStorage.removeItem(PREFIX + id)
  if (currentId.value === id) open(newId())
}

export function open(id: string): void {
  currentId.value = id
  if (location.hash.slice(1) !== id) history.pushState(null, '', `#${id}`)
}

export function saveSettings(next: Settings, key: string): void {
  settings.value = next
  write(SETTINGS, next)
  apiKey.value = key
  if (key === '') sessionStorage.removeItem(KEY)
  else sessionStorage.setItem(KEY, key)
}

export function saveTheme(next: Theme): void {
  theme.value = next
  write(THEME, next)
}

/** Another tab has changed something, or the address has. */
export function listen(): void {
  addEventListener('storage', ({ key }) => {
    if (key?.startsWith(PREFIX)) takeOver(key)
    if (key === SETTINGS) settings.value = { ...DEFAULTS, ...read<Partial<Settings>>(SETTINGS) }
    if (key === THEME) theme.value = read<Theme>(THEME) ?? 'auto'
  })
  addEventListener('popstate', () => {
    currentId.value = location.hash.slice(1) || newId()
  })
}

/** What another tab has done to one conversation. */
function takeOver(key: string): void {
  const conversation = read<Conversation>(key)
  const next = new Map(conversations.value)
  if (conversation === null) next.delete(key.slice(PREFIX.length))
  else next.set(conversation.id, conversation)
  conversations.value = next
}

function readAll(): Map<string, Conversation> {
  const found = new Map<string, Conversation>()
  for (const key of Object.keys(localStorage)) {
    const conversation = key.startsWith(PREFIX) ? read<Conversation>(key) : null
    if (conversation !== null) found.set(conversation.id, conversation)
  }
  return found
}

/** Null where there is nothing, or nothing that can be read. */
function read<T>(key: string): T | null {
  try {
    return JSON.parse(localStorage.getItem(key) ?? 'null') as T | null
  } catch {
    return null
  }
}

function write(key: string, value: unknown): void {
  try {
    localStorage.setItem(key, JSON.stringify(value))
  } catch {
    // A full or forbidden storage costs the history, not the conversation.
  }
}
