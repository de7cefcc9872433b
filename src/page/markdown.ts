/**
 * Markdown to HTML that is safe to show: what a model says is not trusted.
 */
import createDOMPurify from 'dompurify'
import { Marked } from 'marked'

const ESCAPES: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' }
const escaped = (text: string): string => text.replaceAll(/[&<>"']/g, (character) => ESCAPES[character] as string)

/** Tags that a model writes are shown, and not obeyed. */
const marked = new Marked({ gfm: true, breaks: true, renderer: { html: ({ text }) => escaped(text) } })
const purify = createDOMPurify(window)

/** No forms, no frames, no styles, and no images: one from elsewhere would be a request that the page does not make. */
const ALLOWED_TAGS = [
  ...['p', 'br', 'hr', 'h1', 'h2', 'h3', 'h4', 'h5', 'h6', 'strong', 'em', 'del', 'code', 'pre', 'blockquote'],
  ...['ul', 'ol', 'li', 'a', 'table', 'thead', 'tbody', 'tr', 'th', 'td'],
]

purify.addHook('afterSanitizeAttributes', (node) => {
  if (node.tagName !== 'A') return
  node.setAttribute('target', '_blank')
  node.setAttribute('rel', 'noopener noreferrer')
})

/** A value that the page's policy (Trusted Types) lets into the document. */
export function html(text: string): string {
  const dirty = marked.parse(text, { async: false })
  const clean = purify.sanitize(dirty, {
    ALLOWED_TAGS,
    ALLOWED_ATTR: ['href', 'start', 'align'],
    RETURN_TRUSTED_TYPE: true,
  })
  // A TrustedHTML where the browser has these, which only the document looks into.
  return clean as unknown as string
}
