/**
 * Starts the page.
 */
import { effect } from '@preact/signals'
import { render } from 'preact'
import { App } from './components/app.jsx'
import { loadModels } from './gateway.js'
import { apiKey, listen, theme } from './store.js'
import { takeUp } from './talk.js'

listen()
effect(takeUp)
effect(() => {
  if (theme.value === 'auto') delete document.documentElement.dataset.theme
  else document.documentElement.dataset.theme = theme.value
})
effect(() => {
  // With the key that there is now.
  void apiKey.value
  void loadModels()
})
render(<App />, document.body)
