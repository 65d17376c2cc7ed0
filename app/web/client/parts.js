// Small parts that all screens are made of.
import {useEffect, useRef, useState} from "../vendor/hooks.mjs"
import {explain} from "./errors.js"
import {html} from "./html.js"
import {ago, moment, t} from "./i18n.js"
import {nameOf} from "./people.js"
import {Store, useStore} from "./store.js"

const ICONS = {
    feed: "M4 5h16M4 12h16M4 19h10",
    search: "M11 4a7 7 0 1 0 0 14 7 7 0 0 0 0-14M20 20l-4-4",
    person: "M12 4a4 4 0 1 0 0 8 4 4 0 0 0 0-8M4 20c1-4 4-6 8-6s7 2 8 6",
    settings: "M4 7h10M18 7h2M4 17h2M10 17h10M16 5v4M8 15v4",
    pen: "M4 20l1-5L16 4l4 4L9 19zM13 7l4 4",
    cross: "M6 6l12 12M18 6L6 18",
    bin: "M4 7h16M9 7V4h6v3M6 7l1 13h10l1-13",
    up: "M12 19V5M6 11l6-6 6 6",
}

export function Icon({name}) {
    return html`<svg class="icon" viewBox="0 0 24 24" aria-hidden="true"><path d=${ICONS[name]} /></svg>`
}

export function Avatar({user, id, size = ""}) {
    const tint = Number(id.slice(-6)) % 6
    return html`<span class="avatar ${size}" data-tint=${tint} aria-hidden="true">${initialsOf(user)}</span>`
}

function initialsOf(user) {
    const names = user ? [user.first_name, user.second_name] : []
    return names.map(name => name.match(/[\p{L}\p{N}]/u) ?? "").join("") || "·"
}

export function PersonLink({user, id}) {
    return html`<a class="name" href="#/person/${id}">${user ? nameOf(user) : t("unknown_person")}</a>`
}

// A row of a list of people, with a line of text below the name.
export function PersonRow({user, about, children}) {
    return html`<li class="row">
        <${Avatar} user=${user} id=${user.id} />
        <div class="row-text">
            <${PersonLink} user=${user} id=${user.id} />
            ${user.username && html`<span class="quiet">@${user.username}</span>`}
            ${about && html`<div class="quiet">${about}</div>`}
        </div>
        ${children}
    </li>`
}

const clock = new Store({now: Date.now()})
setInterval(() => document.hidden || clock.set({now: Date.now()}), 30_000)

export function Time({at}) {
    const {now} = useStore(clock)
    return html`<time datetime=${at} title=${moment(at)}>${ago(at, Math.max(now, Date.parse(at)))}</time>`
}

// It ends before punctuation, but with a bracket that it has opened.
const LINK = /(https?:\/\/[^\s<>"]+(?<=[^.,;:!?)\]}'»]|\((?!https?:)[^\s<>"()]*\)))/

// Text with its links. Only http and https become links, so no address can run a script.
export function Text({text}) {
    return text.split(LINK).map((part, index) =>
        index % 2 ? html`<a href=${part} target="_blank" rel="noopener noreferrer nofollow ugc">${part}</a>` : part)
}

// `words` is the key of its label, and of a hint below it. `error` is the text that is shown if the value is refused.
export function Field({words, name, value, onInput, error, area, hint, ...more}) {
    const id = `field-${name}`
    const below = error ?? hint
    return html`<div class="field ${error ? "wrong" : ""}">
        <label for=${id}>${t(words)}</label>
        <${area ? "textarea" : "input"} id=${id} name=${name} value=${value} aria-invalid=${Boolean(error)}
            aria-describedby=${below ? `${id}-below` : undefined}
            onInput=${event => onInput(event.target.value)} ...${more} />
        ${below && html`<p id="${id}-below" class="below">${below}</p>`}
    </div>`
}

export function Button({isBusy, kind = "", children, ...more}) {
    return html`<button type="button" class="button ${kind}" aria-busy=${Boolean(isBusy)} ...${more}
        onClick=${isBusy ? event => event.preventDefault() : more.onClick}>${children}</button>`
}

// Properties of the field of a username.
export const USERNAME = {maxlength: 31, autocomplete: "username", autocapitalize: "off", spellcheck: "false"}

// The seconds that are left of those an error says to wait; it begins again with each error.
export function useWait(error) {
    const [left, setLeft] = useState(0)
    useEffect(() => {
        setLeft(error?.retryAfter ?? 0)
        if (!error?.retryAfter) return
        const end = Date.now() + error.retryAfter * 1000
        const timer = setInterval(() => setLeft(Math.max(0, Math.ceil((end - Date.now()) / 1000))), 250)
        return () => clearInterval(timer)
    }, [error])
    return left
}

// Runs the action of a form: {submit, isBusy, error, wait}. Further presses do nothing until it is done.
export function useSubmit(action) {
    const [state, setState] = useState({isBusy: false, error: null})
    const wait = useWait(state.error)
    const form = useRef()
    useEffect(() => void (state.error && focusWrong(form.current)), [state.error])
    const submit = async event => {
        event?.preventDefault()
        if (state.isBusy || wait) return
        form.current = event?.currentTarget
        setState({isBusy: true, error: null})
        hideToast()
        try {
            await action()
            setState({isBusy: false, error: null})
        } catch (error) {
            setState({isBusy: false, error})
        }
    }
    return {...state, submit, wait}
}

// Move the focus to the first wrong field, unless the person is elsewhere by now.
function focusWrong(form) {
    const isHere = form?.contains(document.activeElement) || document.activeElement === document.body
    if (isHere) form?.querySelector("[aria-invalid=true]")?.focus()
}

export function FormError({error, wait}) {
    useEffect(() => void (error && hideToast()), [error])
    return html`<div role="alert">${error && html`<p class="problem">${explain(error, wait)}</p>`}</div>`
}

// What went wrong with loading, and a button to try again; a temporary error tries again by itself.
export function Problem({error, retry}) {
    const wait = useWait(error)
    const attempts = useRef(0)
    useEffect(() => {
        if (!error.isTemporary) return
        const seconds = Math.max(error.retryAfter, Math.min(30, 2 ** ++attempts.current))
        const timer = setTimeout(retry, seconds * 1000)
        window.addEventListener("online", retry)
        return () => {
            clearTimeout(timer)
            window.removeEventListener("online", retry)
        }
    }, [error])
    return html`<div class="empty" role="alert">
        <p>${explain(error, wait, "error_not_loaded")}</p>
        ${error.isTemporary && html`<${Button} onClick=${retry} disabled=${wait > 0}>${t("try_again")}<//>`}
    </div>`
}

export function Loading({rows = 4}) {
    return html`<div class="loading" role="status"><span class="unseen">${t("loading")}</span>
        ${Array.from({length: rows}, (_, index) => html`<div class="bone" key=${index}><i /><b /><b /></div>`)}
    </div>`
}

// The end of a list: loads the next page when it comes near, or by its button.
export function More({next, isLoading, error, more}) {
    const end = useRef()
    useEffect(() => {
        if (!next || isLoading || error) return
        const isNear = entries => entries.some(entry => entry.isIntersecting)
        const observer = new IntersectionObserver(entries => isNear(entries) && more(), {rootMargin: "1200px"})
        observer.observe(end.current)
        return () => observer.disconnect()
    }, [next, isLoading, error])
    if (error) return html`<${Problem} error=${error} retry=${more} />`
    if (isLoading) return html`<${Loading} rows=${2} />`
    return html`<div ref=${end} class="more">${next && html`<${Button} onClick=${more}>${t("more")}<//>`}</div>`
}

export function Empty({title, text, children}) {
    return html`<div class="empty"><h2>${title}</h2><p>${text}</p>${children}</div>`
}

// A question in front of everything else. `onClose` is called by Escape too; without it, it stays until it is answered.
export function Dialog({title, onClose, children}) {
    const dialog = useRef()
    const open = () => {
        dialog.current.showModal()
        dialog.current.querySelector("input:not(.unseen), button").focus() // a browser may choose an unseen field
    }
    useEffect(() => {
        const opener = document.activeElement ?? document.body
        const below = labelBelow(opener)
        open()
        return () => focusBack(opener, below)
    }, [])
    return html`<dialog ref=${dialog} aria-labelledby="dialog-title"
        onCancel=${event => (event.preventDefault(), onClose?.())}
        onClose=${onClose ?? open}>
        <h2 id="dialog-title">${title}</h2>
        ${children}
    </dialog>`
}

// Move the focus to what opened a question. The answer may remove that: then to the post below, or to the heading.
function focusBack(opener, below) {
    opener.focus({preventScroll: true})
    setTimeout(() => {
        if (opener.isConnected) return
        const post = document.getElementById(below)?.closest("article") // as it is drawn by now
        const start = post ?? document.querySelector("main h1")
        start?.focus({preventScroll: true})
    })
}

// The id of the label of the post below the one that an element is in.
function labelBelow(element) {
    const posts = [...document.querySelectorAll("article.post")]
    const position = posts.indexOf(element.closest("article.post"))
    return position < 0 ? null : posts[position + 1]?.getAttribute("aria-labelledby")
}

export function Confirm({title, text, action, onClose, onConfirm}) {
    return html`<${Dialog} title=${title} onClose=${onClose}>
        <p>${text}</p>
        <div class="buttons">
            <${Button} onClick=${onClose}>${t("cancel")}<//>
            <${Button} kind="strong" onClick=${() => (onClose(), onConfirm())}>${action}<//>
        </div>
    <//>`
}

const toasts = new Store({text: "", number: 0})
let hiding

export function toast(text) {
    clearTimeout(hiding)
    toasts.set({text, number: toasts.state.number + 1})
    hiding = setTimeout(hideToast, 8000)
}

function hideToast() {
    if (toasts.state.text) toasts.set({text: ""})
}

// Escape closes what is in front: a question first, then this, then what it closes elsewhere.
function hideByEscape(event) {
    if (event.key !== "Escape" || !toasts.state.text || document.querySelector("dialog[open]")) return
    event.preventDefault()
    event.stopPropagation()
    hideToast()
}

export function Toast() {
    const {text, number} = useStore(toasts)
    useEffect(() => {
        addEventListener("keydown", hideByEscape, true)
        return () => removeEventListener("keydown", hideByEscape, true)
    }, [])
    return html`<div class="toasts">
        <div role="status">${text && html`<p class="toast" key=${number} onClick=${hideToast}>${text}</p>`}</div>
        ${text && html`<button type="button" class="toast-close" aria-label=${t("close")} title=${t("close")}
            onClick=${hideToast}><${Icon} name="cross" /></button>`}
    </div>`
}
