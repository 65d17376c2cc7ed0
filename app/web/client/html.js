// Preact with htm: html`<p>${text}</p>` makes elements; text in it is never taken for markup.
import {h} from "../vendor/preact.mjs"
import htm from "../vendor/htm.mjs"

export const html = htm.bind(h)
