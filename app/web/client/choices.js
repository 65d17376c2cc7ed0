// The language and the colours, chosen by the person.
import {html} from "./html.js"
import {choose, language, LANGUAGES, t} from "./i18n.js"
import * as storage from "./storage.js"
import {Store, useStore} from "./store.js"

const KEY = "lenta.theme"
const THEMES = ["system", "light", "dark"]

export const choices = new Store({language, theme: storage.read(KEY) ?? "system"})

export function show() {
    const {theme} = choices.state
    if (theme === "system") delete document.documentElement.dataset.theme
    else document.documentElement.dataset.theme = theme
}

async function setLanguage(code) {
    await choose(code)
    choices.set({language: code})
    setTimeout(() => document.querySelector("[name=language]")?.focus({preventScroll: true})) // all is drawn anew
}

function setTheme(theme) {
    storage.write(KEY, theme)
    choices.set({theme})
    show()
}

export function Choices() {
    const {theme} = useStore(choices)
    return html`<span class="choices">
        <label>${t("language")} <select name="language" value=${language}
            onChange=${event => setLanguage(event.target.value)}>
            ${Object.entries(LANGUAGES).map(([code, name]) => html`<option key=${code} value=${code} lang=${code}
                selected=${code === language}>${name}</option>`)}
        </select></label>
        <label>${t("theme")} <select name="theme" value=${theme} onChange=${event => setTheme(event.target.value)}>
            ${THEMES.map(each => html`<option key=${each} value=${each}
                selected=${each === theme}>${t(`theme_${each}`)}</option>`)}
        </select></label>
    </span>`
}
