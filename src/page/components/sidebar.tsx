/**
 * The conversations, a drawer on a narrow screen.
 */
import { type Signal, useSignal } from '@preact/signals'
import { useEffect, useRef } from 'preact/hooks'
import { type Conversation, titleOf } from '../conversation.js'
import { currentId, listed, newId, open, remove, save, saveTheme, type Theme, theme } from '../store.js'
import { Icon, type IconName } from './icon.jsx'

const NEXT_THEME = { auto: 'light', light: 'dark', dark: 'auto' } as const satisfies Record<Theme, Theme>
const THEME_ICON = { auto: 'auto', light: 'sun', dark: 'moon' } as const satisfies Record<Theme, IconName>

export function Sidebar({ open: drawer, onSettings }: { open: Signal<boolean>; onSettings: () => void }) {
  const close = (): void => {
    drawer.value = false
  }
  const go = (id: string): void => {
    open(id)
    close()
    document.getElementById('composer')?.focus()
  }
  useEscape(drawer, close)
  return (
    <>
      {drawer.value && <div class="scrim" onClick={close} aria-hidden="true" />}
      <aside class={drawer.value ? 'sidebar open' : 'sidebar'} aria-label="Conversations">
        <div class="brand">
          <span class="brand-name">Rejoin</span>
          <button type="button" class="icon-button only-narrow" aria-label="Close" onClick={close}>
            <Icon name="close" />
          </button>
        </div>
        <button type="button" class="new" onClick={() => go(newId())}>
          <Icon name="plus" /> New conversation
        </button>
        <nav class="list" aria-label="Kept conversations">
          <ul>
            {listed.value.map((conversation) => (
              <Entry key={conversation.id} conversation={conversation} onOpen={() => go(conversation.id)} />
            ))}
          </ul>
        </nav>
        <div class="foot">
          <button type="button" class="foot-button" onClick={onSettings}>
            <Icon name="gear" /> Settings
          </button>
          <button
            type="button"
            class="icon-button"
            aria-label={`Colours: ${theme.value}`}
            title={`Colours: ${theme.value}`}
            onClick={() => saveTheme(NEXT_THEME[theme.value])}
          >
            <Icon name={THEME_ICON[theme.value]} />
          </button>
        </div>
      </aside>
    </>
  )
}

function Entry({ conversation, onOpen }: { conversation: Conversation; onOpen: () => void }) {
  const { id, title } = conversation
  const renaming = useSignal(false)
  const input = useRef<HTMLInputElement>(null)
  useEffect(() => input.current?.select(), [renaming.value])
  const rename = (to: string): void => {
    // Taking the field away is one more reason for it to tell.
    if (!renaming.value) return
    renaming.value = false
    if (to.trim() !== '') save({ ...conversation, title: titleOf(to) })
  }
  if (renaming.value) {
    return (
      <li>
        <input
          ref={input}
          class="rename"
          aria-label={`New name of ${title}`}
          value={title}
          onBlur={(event) => rename(event.currentTarget.value)}
          onKeyDown={(event) => {
            if (event.key === 'Enter') rename(event.currentTarget.value)
            if (event.key === 'Escape') rename('')
          }}
        />
      </li>
    )
  }
  return (
    <li class={id === currentId.value ? 'entry current' : 'entry'}>
      <button
        type="button"
        class="entry-open"
        aria-current={id === currentId.value ? 'page' : undefined}
        onClick={onOpen}
      >
        {title}
      </button>
      <button
        type="button"
        class="icon-button small"
        aria-label={`Rename ${title}`}
        onClick={() => {
          renaming.value = true
        }}
      >
        <Icon name="pencil" />
      </button>
      <button type="button" class="icon-button small" aria-label={`Delete ${title}`} onClick={() => remove(id)}>
        <Icon name="trash" />
      </button>
    </li>
  )
}

function useEscape(drawer: Signal<boolean>, close: () => void): void {
  useEffect(() => {
    if (!drawer.value) return
    const onKey = ({ key }: KeyboardEvent): void => {
      if (key === 'Escape') close()
    }
    addEventListener('keydown', onKey)
    return () => removeEventListener('keydown', onKey)
  }, [drawer.value])
}
