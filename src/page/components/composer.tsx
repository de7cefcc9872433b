/**
 * Where a question is written. Enter sends, Shift and Enter begin a new line.
 */
import { useSignal } from '@preact/signals'
import { useEffect, useRef } from 'preact/hooks'
import { currentId } from '../store.js'
import { ask, stopAnswer, waitingAnswer } from '../talk.js'
import { Icon } from './icon.jsx'

export function Composer() {
  const text = useSignal('')
  const box = useRef<HTMLTextAreaElement>(null)
  const waiting = waitingAnswer() !== null
  useEffect(() => box.current?.focus(), [currentId.value])
  useEffect(() => {
    const { current } = box
    if (!current) return
    current.style.height = 'auto'
    current.style.height = `${current.scrollHeight}px`
  }, [text.value])
  const send = (): void => {
    if (text.value.trim() === '' || waiting) return
    ask(text.value.trim())
    text.value = ''
  }
  return (
    <form
      class="composer"
      onSubmit={(event) => {
        event.preventDefault()
        send()
      }}
    >
      <div class="composer-box">
        <textarea
          id="composer"
          ref={box}
          rows={1}
          placeholder="Write a message"
          aria-label="Message"
          value={text.value}
          onInput={(event) => {
            text.value = event.currentTarget.value
          }}
          onKeyDown={(event) => {
            if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return
            event.preventDefault()
            send()
          }}
        />
        {waiting ? (
          <button type="button" class="round" aria-label="Stop" title="Stop" onClick={() => void stopAnswer()}>
            <Icon name="stop" />
          </button>
        ) : (
          <button type="submit" class="round" aria-label="Send" title="Send" disabled={text.value.trim() === ''}>
            <Icon name="send" />
          </button>
        )}
      </div>
    </form>
  )
}
