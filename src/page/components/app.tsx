/**
 * The page: conversations at the side, one of them in the middle, and how the connection is doing above it.
 */
import { useSignal } from '@preact/signals'
import { keyWanted, unplugged } from '../gateway.js'
import { current } from '../store.js'
import { Composer } from './composer.jsx'
import { Connection } from './connection.jsx'
import { Icon } from './icon.jsx'
import { SettingsDialog } from './settings.jsx'
import { Sidebar } from './sidebar.jsx'
import { Thread } from './thread.jsx'

export function App() {
  const sidebarOpen = useSignal(false)
  const settingsOpen = useSignal(false)
  const openSettings = (): void => {
    sidebarOpen.value = false
    settingsOpen.value = true
  }
  return (
    <div class="app">
      {/* Not a link: the address has the conversation's id. */}
      <button type="button" class="skip" onClick={() => document.getElementById('composer')?.focus()}>
        Skip to the message box
      </button>
      <Sidebar open={sidebarOpen} onSettings={openSettings} />
      <main class="main">
        <header class="bar">
          <button
            type="button"
            class="icon-button only-narrow"
            aria-label="Conversations"
            aria-expanded={sidebarOpen.value}
            onClick={() => {
              sidebarOpen.value = true
            }}
          >
            <Icon name="menu" />
          </button>
          <h1 class="bar-title">{current.value.title}</h1>
          <Connection />
        </header>
        {keyWanted.value && (
          <p class="notice" role="alert">
            The gateway wants an API key.{' '}
            <button type="button" class="link" onClick={openSettings}>
              Open Settings
            </button>
          </p>
        )}
        {unplugged.value && (
          <p class="notice" role="status">
            You pulled the plug: this page hears nothing and sends nothing. An answer goes on at the gateway meanwhile.
          </p>
        )}
        <Thread />
        <Composer />
      </main>
      <SettingsDialog open={settingsOpen} />
    </div>
  )
}
