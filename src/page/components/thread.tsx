/**
 * The messages of a conversation; it stays at its end while the reader does.
 */
import { useSignal, useSignalEffect } from '@preact/signals'
import { useEffect, useRef } from 'preact/hooks'
import { lives } from '../live.js'
import { current, currentId } from '../store.js'
import { Empty } from './empty.jsx'
import { AnswerView, QuestionView } from './message.jsx'

/** So near to the end counts as at the end. */
const NEAR_PX = 80

export function Thread() {
  const box = useRef<HTMLDivElement>(null)
  const atEnd = useSignal(true)
  const toEnd = (): void => box.current?.scrollTo({ top: box.current.scrollHeight })
  useEffect(() => {
    atEnd.value = true
    toEnd()
  }, [currentId.value, current.value.messages.length])
  useSignalEffect(() => {
    // Whatever makes it longer.
    for (const { text } of lives.value.values()) void text.value
    if (atEnd.peek()) requestAnimationFrame(toEnd)
  })
  const onScroll = (): void => {
    const { scrollHeight = 0, scrollTop = 0, clientHeight = 0 } = box.current ?? {}
    atEnd.value = scrollHeight - scrollTop - clientHeight < NEAR_PX
  }
  const { messages } = current.value
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard
    <section class="thread" ref={box} onScroll={onScroll} tabIndex={0} aria-label="Messages">
      <p class="heard" role="status">
        {announcement()}
      </p>
      <div class="column">
        {messages.length === 0 ? (
          <Empty />
        ) : (
          messages.map((message, index) =>
            message.role === 'user' ? (
              <QuestionView key={message.id} question={message} />
            ) : (
              <AnswerView key={message.id} answer={message} last={index === messages.length - 1} />
            ),
          )
        )}
      </div>
    </section>
  )
}

/** For a reader who hears the page: the text itself would be read word by word. */
function announcement(): string {
  const last = current.value.messages.at(-1)
  if (last?.role !== 'assistant') return ''
  return last.status === 'waiting' ? 'Answering.' : 'The answer has ended.'
}
