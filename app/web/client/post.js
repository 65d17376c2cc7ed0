// A post, and the box to write or edit one.
import {useEffect, useLayoutEffect, useRef, useState} from "../vendor/hooks.mjs"
import {edit, erase, write} from "./actions.js"
import {forget, hasDraft, useDraft} from "./drafts.js"
import {html} from "./html.js"
import {t} from "./i18n.js"
import {Avatar, Button, Confirm, FormError, Icon, PersonLink, Text, Time, useSubmit, useWait} from "./parts.js"
import {people} from "./people.js"
import {session} from "./session.js"
import {memo, useStore} from "./store.js"

const MAX_LENGTH = 10_000
const LONG = 700 // characters, or this many lines; more are folded
const MANY_LINES = 12

// Posts one below the other. `before(post)` is what stands above a post.
export function Posts({posts, label, isLoading, before = () => null}) {
    if (!posts.length) return null
    return html`<div role="feed" tabindex="-1" aria-label=${label} aria-busy=${isLoading}>
        ${posts.map((post, index) => html`
            ${before(post)}
            <${Post} key=${post.id} post=${post} position=${index + 1} />`)}
    </div>`
}

export const Post = memo(function Post({post, position, isOpen}) {
    const author = useStore(people, users => users[post.author_user_id])
    const [editing, setEditing] = useState(() => ({isOpen: isMine(post) && hasDraft(draftOf(post)), error: null}))
    const [isLeaving, setLeaving] = useState(false)
    const save = async text => {
        setEditing({isOpen: false, error: null})
        try {
            await edit(post, text)
            forget(draftOf(post))
        } catch (error) {
            setEditing({isOpen: true, error})
        }
    }
    const cancel = () => {
        forget(draftOf(post))
        setEditing({isOpen: false, error: null})
    }
    return html`<article class="post ${post.isSending ? "sending" : ""}" tabindex="0" aria-posinset=${position}
            aria-setsize=${position && -1} aria-labelledby="by-${post.id}" onKeyDown=${moveBetweenPosts}>
        <${Avatar} user=${author} id=${post.author_user_id} />
        <div class="post-body">
            <${Head} post=${post} author=${author} onEdit=${() => setEditing({isOpen: true, error: null})}
                onErase=${() => setLeaving(true)} />
            ${editing.isOpen
                ? html`<${Editor} post=${post} error=${editing.error} onSave=${save} onCancel=${cancel} />`
                : html`<${Body} text=${post.text} isOpen=${isOpen} />`}
        </div>
        ${isLeaving && html`<${Confirm} title=${t("delete_post_question")} text=${t("delete_post_text")}
            action=${t("delete_post")}
            onClose=${() => setLeaving(false)} onConfirm=${() => erase(post)} />`}
    </article>`
})

function Head({post, author, onEdit, onErase}) {
    const tool = (icon, words, action) => html`
        <button type="button" class="tool" aria-label=${t(words)} title=${t(words)} onClick=${action}>
            <${Icon} name=${icon} />
        </button>`
    return html`<header>
        <span class="by" id="by-${post.id}"><${PersonLink} user=${author} id=${post.author_user_id} />${" "}
            ${post.isSending
                ? html`<span class="quiet">${t("sending")}</span>`
                : html`<a class="quiet" href="#/post/${post.id}"><${Time} at=${post.created_at} /></a>`}
            ${isChanged(post) && html`<span class="quiet"> · ${t("edited")}</span>`}</span>
        ${isMine(post) && !post.isSending && html`<span class="tools">
            ${tool("pen", "edit_post", onEdit)}${tool("bin", "delete_post", onErase)}
        </span>`}
    </header>`
}

function draftOf(post) {
    return `edit.${post.id}`
}

function isMine(post) {
    return post.author_user_id === session.state.userId
}

function isChanged(post) {
    return Date.parse(post.updated_at) - Date.parse(post.created_at) > 1000
}

function Body({text, isOpen}) {
    const [isUnfolded, setUnfolded] = useState(isOpen)
    const isLong = text.length > LONG || text.split("\n").length > MANY_LINES
    return html`<p class="text ${isLong && !isUnfolded ? "folded" : ""}" dir="auto"><${Text} text=${text} /></p>
        ${isLong && !isUnfolded && html`
            <button type="button" class="link" onClick=${() => setUnfolded(true)}>${t("show_all")}</button>`}`
}

// Page Down and Page Up go from post to post, as in any feed (ARIA Authoring Practices).
function moveBetweenPosts(event) {
    const step = {PageDown: 1, PageUp: -1}[event.key]
    if (!step || event.target.closest("textarea")) return
    const all = [...document.querySelectorAll("article.post")]
    const next = all[all.indexOf(event.currentTarget) + step]
    if (!next) return
    event.preventDefault()
    next.focus()
    next.scrollIntoView({block: "nearest"})
}

// A change that is refused opens it again, with the error.
function Editor({post, error, onSave, onCancel}) {
    const [text, keep] = useDraft(draftOf(post), post.text)
    const wait = useWait(error)
    const submit = event => {
        event.preventDefault()
        if (isSendable(text) && !wait) onSave(text.trim())
    }
    return html`<form class="editor" onSubmit=${submit}>
        <${Box} label=${t("edit_post")} text=${text} onInput=${keep} onSend=${submit} onCancel=${onCancel} isFocused />
        <${FormError} error=${error} wait=${wait} />
        <div class="buttons">
            <${Count} text=${text} />
            <${Button} onClick=${onCancel}>${t("cancel")}<//>
            <${Button} type="submit" kind="main" disabled=${!isSendable(text) || wait > 0}>${t("save")}<//>
        </div>
    </form>`
}

export function Composer() {
    const me = useStore(people, users => users[session.state.userId])
    const [text, keep, show] = useDraft("new", "")
    const current = useRef(text)
    current.current = text
    const {submit, isBusy, error, wait} = useSubmit(async () => {
        if (!isSendable(text)) return
        show("")
        try {
            await write(text.trim())
            if (!current.current) keep(null)
        } catch (error) {
            keep(current.current ? `${text}\n\n${current.current}` : text)
            throw error
        }
    })
    return html`<form class="composer" onSubmit=${submit}>
        <${Avatar} user=${me} id=${session.state.userId} />
        <div class="post-body">
            <${Box} id="composer" label=${t("compose_label")} placeholder=${t("compose_placeholder")} text=${text}
                onInput=${keep} onSend=${submit} />
            <${FormError} error=${error} wait=${wait} />
            <div class="buttons">
                <${Count} text=${text} />
                <${Button} type="submit" kind="main" isBusy=${isBusy}
                    disabled=${!isSendable(text) || wait > 0}>${t("publish")}<//>
            </div>
        </div>
    </form>`
}

function isSendable(text) {
    return text.trim() !== "" && [...text].length <= MAX_LENGTH
}

function Count({text}) {
    const left = MAX_LENGTH - [...text].length
    const words = left < 500 && t(left < 0 ? "too_long" : "left", {n: Math.abs(left)})
    return html`<span class="count quiet" role="status">${words}</span>`
}

// A text area that grows with its text. Ctrl+Enter sends.
function Box({label, text, onInput, onSend, onCancel, isFocused, ...more}) {
    const box = useRef()
    useLayoutEffect(() => {
        box.current.style.height = "auto"
        box.current.style.height = `${box.current.scrollHeight + 2}px`
    }, [text])
    useEffect(() => {
        if (!isFocused) return
        const opener = document.activeElement
        box.current.focus()
        box.current.setSelectionRange(text.length, text.length)
        return () => opener?.focus?.({preventScroll: true})
    }, [])
    const onKeyDown = event => {
        if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) onSend(event)
        else if (event.key === "Escape" && onCancel) onCancel()
    }
    return html`<textarea ref=${box} rows="1" dir="auto" aria-label=${label} value=${text} onKeyDown=${onKeyDown}
        onInput=${event => onInput(event.target.value)} ...${more} />`
}
