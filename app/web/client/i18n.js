// Words in the language of the person; numbers and times by the browser.
import * as storage from "./storage.js"

export const LANGUAGES = {en: "English", ru: "Русский"}
const KEY = "lenta.language"
let words = {}

export let language = "en"

// Load the words of a language: the one chosen, or else the first of the browser's that there is.
export async function speak(choice = storage.read(KEY)) {
    const wished = [choice, ...navigator.languages.map(tag => tag.slice(0, 2))]
    language = wished.find(tag => tag in LANGUAGES) ?? "en"
    words = (await import(`../words/${language}.js`)).words
    document.documentElement.lang = language
}

export async function choose(choice) {
    storage.write(KEY, choice)
    await speak(choice)
}

// Return a text. `values` replace its {names}; if it has forms by number, `values.n` chooses one.
export function t(key, values = {}) {
    const found = words[key]
    const text = typeof found === "string" ? found : found[new Intl.PluralRules(language).select(values.n)]
    return text.replace(/\{(\w+)\}/g, (_, name) => (name === "n" ? number(values.n) : values[name]))
}

export function has(key) {
    return key in words
}

export function number(value) {
    return new Intl.NumberFormat(language).format(value)
}

export function short(value) {
    return new Intl.NumberFormat(language, {notation: "compact", maximumFractionDigits: 1}).format(value)
}

const UNITS = [["day", 86_400], ["hour", 3600], ["minute", 60]]

// "5 minutes ago"; from a week on the date.
export function ago(time, now = Date.now()) {
    const seconds = (now - new Date(time)) / 1000
    if (seconds > 7 * 86_400) return day(time, isSameYear(time, now) ? {year: undefined} : {})
    const [unit, length] = UNITS.find(([, length]) => seconds >= length) ?? []
    if (!unit) return t("just_now")
    const format = new Intl.RelativeTimeFormat(language, {numeric: "auto", style: "short"})
    return format.format(-Math.floor(seconds / length), unit)
}

function isSameYear(...times) {
    return new Set(times.map(time => new Date(time).getFullYear())).size === 1
}

export function day(time, options = {}) {
    const parts = {day: "numeric", month: "long", year: "numeric", ...options}
    return new Intl.DateTimeFormat(language, parts).format(new Date(time))
}

export function moment(time) {
    return new Intl.DateTimeFormat(language, {dateStyle: "long", timeStyle: "short"}).format(new Date(time))
}
