/**
 * Which model answers and how, and the key. They hold for the next question.
 */
import type { Signal } from '@preact/signals'
import { useEffect, useRef } from 'preact/hooks'
import { models } from '../gateway.js'
import { apiKey, saveSettings, settings } from '../store.js'
import { Icon } from './icon.jsx'

export function SettingsDialog({ open }: { open: Signal<boolean> }) {
  const dialog = useRef<HTMLDialogElement>(null)
  useEffect(() => {
    if (open.value) dialog.current?.showModal()
    else dialog.current?.close()
  }, [open.value])
  const close = (): void => {
    open.value = false
  }
  return (
    <dialog class="settings" ref={dialog} onClose={close} aria-labelledby="settings-title">
      {open.value && <Form onDone={close} />}
    </dialog>
  )
}

function Form({ onDone }: { onDone: () => void }) {
  const { model, temperature, maxTokens, system } = settings.value
  const [first] = models.value
  const submit = (event: SubmitEvent): void => {
    event.preventDefault()
    const fields = new FormData(event.currentTarget as HTMLFormElement)
    const text = (name: string): string => String(fields.get(name) ?? '')
    saveSettings(
      {
        model: text('model'),
        temperature: numberOrNull(text('temperature')),
        maxTokens: numberOrNull(text('max-tokens')),
        system: text('system').trim(),
      },
      text('key').trim(),
    )
    onDone()
  }
  return (
    <form onSubmit={submit}>
      <header class="settings-head">
        <h2 id="settings-title">Settings</h2>
        <button type="button" class="icon-button" aria-label="Close settings" onClick={onDone}>
          <Icon name="close" />
        </button>
      </header>
      <label class="field">
        <span>Model</span>
        <select name="model" defaultValue={model}>
          <option value="" selected={model === ''}>
            The gateway’s first{first === undefined ? '' : ` (${first})`}
          </option>
          {models.value.map((name) => (
            <option key={name} value={name} selected={name === model}>
              {name}
            </option>
          ))}
        </select>
      </label>
      <div class="pair">
        <label class="field">
          <span>Temperature</span>
          <input
            name="temperature"
            type="number"
            min="0"
            max="5"
            step="0.05"
            placeholder="the model’s"
            defaultValue={temperature ?? ''}
          />
        </label>
        <label class="field">
          <span>Maximum tokens</span>
          <input
            name="max-tokens"
            type="number"
            min="1"
            max="1000000"
            step="1"
            placeholder="256"
            defaultValue={maxTokens ?? ''}
          />
        </label>
      </div>
      <label class="field">
        <span>What the model is told first</span>
        <textarea name="system" rows={3} defaultValue={system} />
      </label>
      <label class="field">
        <span>API key</span>
        <input name="key" type="password" autoComplete="off" defaultValue={apiKey.value} />
        <small>Kept until this tab is closed, and sent to this gateway only.</small>
      </label>
      <footer class="settings-foot">
        <button type="submit" class="primary">
          Save
        </button>
      </footer>
    </form>
  )
}

const numberOrNull = (text: string): number | null => (text === '' ? null : Number(text))
