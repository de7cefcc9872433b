/**
 * The messages of a conversation; it stays at its end while the reader does.
 */
import { useSignal } from '@preact/signals'
import { useEffect, useRef } from 'preact/hooks'
import { current, currentId } from '../store.js'
import { Empty } from './empty.jsx'
import { AnswerView, QuestionView } from './message.jsx'

/** So near to the end counts as at the end. */
const NEAR_PX = 80

export function Thread() {
  const box = useRef<HTMLElement>(null)
  const column = useRef<HTMLDivElement>(null)
  const atEnd = useSignal(true)
  const top = useRef(0)
  const toEnd = (): void => box.current?.scrollTo({ top: box.current.scrollHeight })
  useEffect(() => {
    atEnd.value = true
    toEnd()
  }, [currentId.value, current.value.messages.length])
  useEffect(() => {
    // Whatever makes it longer.
    const observer = new ResizeObserver(() => {
      if (atEnd.peek()) toEnd()
    })
    if (column.current) observer.observe(column.current)
    return () => observer.disconnect()
  }, [])
  const onScroll = (): void => {
    const { scrollHeight = 0, scrollTop = 0, clientHeight = 0 } = box.current ?? {}
    const toGo = scrollHeight - scrollTop - clientHeight
    // Going up is leaving, however little at first: text that comes meanwhile must not pull the reader back.
    if (scrollTop < top.current && toGo > 1) atEnd.value = false
    else if (toGo < NEAR_PX) atEnd.value = true
    top.current = scrollTop
  }
  const { messages } = current.value
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard
    <section class="thread" ref={box} onScroll={onScroll} tabIndex={0} aria-label="Messages">
      <p class="heard" role="status">
        {announcement()}
      </p>
      <div class="column" ref={column}>
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
