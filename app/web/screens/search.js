// Search for people by one box.
import {useEffect, useRef, useState} from "../vendor/hooks.mjs"
import {html} from "../client/html.js"
import {t} from "../client/i18n.js"
import {useList} from "../client/lists.js"
import {Empty, More, PersonRow} from "../client/parts.js"
import {rename} from "../client/router.js"
import {Suggestions} from "../client/suggestions.js"

const PAUSE_MS = 250 // after the last key
const MAX_LENGTH = 100

export function Search({asked, entry}) {
    const [typed, setTyped] = useState(asked)
    const box = useRef()
    useEffect(() => box.current.focus({preventScroll: true}), [])
    useEffect(() => {
        const ask = () => rename(`#/search?q=${encodeURIComponent(typed)}`)
        const timer = setTimeout(ask, typed === asked ? 0 : PAUSE_MS)
        return () => clearTimeout(timer)
    }, [typed])
    return html`
        <h1 tabindex="-1" class="unseen">${t("search")}</h1>
        <form role="search" class="search" onSubmit=${event => event.preventDefault()}>
            <input ref=${box} type="search" aria-label=${t("search_label")} placeholder=${t("search_label")}
                value=${typed} maxlength=${MAX_LENGTH}
                autocomplete="off" autocapitalize="off" spellcheck="false"
                onInput=${event => setTyped(event.target.value)} />
        </form>
        ${asked.trim() ? html`<${Results} key=${asked} asked=${asked.trim()} entry=${entry} />` : html`<p
            class="end quiet">${t("search_hint")}</p><${Suggestions} />`}`
}

function Results({asked, entry}) {
    const {items, isLoaded, ...list} = useList(`user/search?q=${encodeURIComponent(asked)}&limit=30`, entry)
    const isEmpty = isLoaded && !items.length && !list.next
    return html`
        <p class="unseen" role="status">${isLoaded && t("found", {n: items.length})}</p>
        <ul class="rows">${items.map(user => html`<${PersonRow} key=${user.id} user=${user}
            about=${user.city} />`)}</ul>
        ${isEmpty ? html`<${Empty} title=${t("nothing_found")} text=${t("nothing_found_text")} />` : html`<${More}
            ...${list} />`}`
}
