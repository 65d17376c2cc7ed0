// The start, and the frame around all screens.
import {render} from "../vendor/preact.mjs"
import {useEffect, useErrorBoundary, useLayoutEffect, useRef, useState} from "../vendor/hooks.mjs"
import {address, ApiError, network} from "./api.js"
import {choices, show} from "./choices.js"
import {html} from "./html.js"
import {language, speak, t} from "./i18n.js"
import {follow, live} from "./live.js"
import {Button, Empty, Icon, Loading, Problem, Toast} from "./parts.js"
import {know} from "./people.js"
import {enter, route} from "./router.js"
import {session} from "./session.js"
import {Store, useStore} from "./store.js"
import {Suggestions} from "./suggestions.js"
import {Timeline} from "./timeline.js"
import {Feed} from "../screens/feed.js"
import {LogInAgain, Welcome} from "../screens/welcome.js"

// Screens that are not seen first are loaded when they are needed.
const LATER = {
    Follows: () => import("../screens/follows.js"),
    Person: () => import("../screens/person.js"),
    Search: () => import("../screens/search.js"),
    Settings: () => import("../screens/settings.js"),
    SignUp: () => import("../screens/signup.js"),
    Single: () => import("../screens/single.js"),
}
const loaded = {}

const CONNECT_MS = 700 // how long the first page waits for live events, so that it need not be read twice
const LATE_MS = 3000 // a shorter break of live events is not mentioned

const WIDE = matchMedia("(min-width: 1160px)") // as in style.css

let timeline = null

// Begin with the feed of the person that is logged in. Another person gets a new page.
function start() {
    if (timeline || !session.state.token) return
    timeline = new Timeline()
    let connected
    const isConnected = new Promise(done => (connected = done))
    follow((name, data) => {
        timeline.apply(name, data)
        if (name === "connected") connected()
    })
    know([session.state.userId]).catch(() => null)
    Promise.race([isConnected, new Promise(done => setTimeout(done, CONNECT_MS))]).then(() => timeline.load())
}

function Later({name, ...more}) {
    const [error, setError] = useState(null)
    const [, show] = useState(name in loaded)
    const load = () => {
        setError(null)
        LATER[name]().then(module => show((loaded[name] = module[name]) && true), async () => {
            setError(new ApiError(0))
            await reloadIfUpgraded()
        })
    }
    useEffect(() => void (loaded[name] ?? load()), [name])
    // While it was loading there was no heading, so the focus is at <main>.
    useLayoutEffect(() => {
        const main = document.getElementById("main")
        if (main && document.activeElement === main) main.querySelector("h1")?.focus({preventScroll: true})
    }, [loaded[name]])
    if (error) return html`<${Problem} error=${error} retry=${load} />`
    return loaded[name] ? html`<${loaded[name]} ...${more} />` : html`<${Loading} />`
}

// After an upgrade the files of this page's version may be gone or changed. Drafts survive the new page.
async function reloadIfUpgraded() {
    const page = await fetch(address("")).then(response => response.text(), () => null)
    if (page && !page.includes(new URL(".", import.meta.url).pathname)) location.reload()
}

// A mistake in one screen leaves the others.
function Guarded({children}) {
    const [error] = useErrorBoundary(reloadIfUpgraded)
    if (!error) return children
    return html`<div class="empty" role="alert">
        <p>${t("error_here")}</p>
        <${Button} onClick=${() => location.reload()}>${t("reload")}<//>
    </div>`
}

// Return the title and the content of a screen.
function screen({name, rest: [id, part], key, query}) {
    const later = (screen, more) => html`<${Later} name=${screen} key=${screen + key} entry=${key} ...${more} />`
    if (name === "" || name === "signup") return ["feed", html`<${Feed} timeline=${timeline} />`]
    if (name === "search") return ["search", later("Search", {asked: query.get("q") ?? ""})]
    if (name === "settings") return ["settings", later("Settings")]
    if (name === "post" && id) return ["post", later("Single", {id})]
    if (name === "person" && id && !part) return ["profile", later("Person", {id})]
    if (name === "person" && ["followers", "following"].includes(part))
        return [`${part}_title`, later("Follows", {id, kind: part})]
    return ["no_screen", html`<h1 tabindex="-1" class="unseen">${t("no_screen")}</h1>
        <${Empty} title=${t("no_screen")} text=${t("no_screen_text")}>
            <a class="button" href="#/">${t("to_feed")}</a>
        <//>`]
}

function App() {
    const {token, userId, isExpired} = useStore(session)
    const where = useStore(route)
    const {language} = useStore(choices)
    useEffect(start, [token])
    if (!token && timeline) return null // the page is about to be loaded again
    if (!token) {
        const isNew = where.name === "signup"
        return html`${isNew ? html`<${Later} name="SignUp" key=${language} />` : html`<${Welcome} key=${language} />`}
            <${Toast} />`
    }
    start()
    return html`<${Frame} key=${language + userId} where=${where} userId=${userId} />
        ${isExpired && html`<${LogInAgain} />`}
        <${Toast} />`
}

function Frame({where, userId}) {
    const main = useRef()
    const [isWide, setWide] = useState(WIDE.matches)
    useEffect(() => WIDE.addEventListener("change", () => setWide(WIDE.matches)), [])
    const [title, shown] = screen(where)
    useLayoutEffect(() => enter(where.key, main.current), [where.key])
    const links = [
        ["", "feed", "feed"],
        ["search", "search", "search"],
        [`person/${userId}`, "person", "profile"],
        ["settings", "settings", "settings"],
    ]
    return html`<div class="shell">
        <button type="button" class="skip" onClick=${() => main.current.focus()}>${t("skip")}</button>
        <header class="side">
            <a class="wordmark" href="#/" aria-label="Lenta">lenta</a>
            <nav aria-label=${t("navigation")}>
                ${links.map(([path, icon, words]) => html`
                    <a key=${words} href="#/${path}" aria-current=${where.path === path ? "page" : undefined}>
                        <${Icon} name=${icon} /><span>${t(words)}</span>
                    </a>`)}
            </nav>
            <${Write} />
        </header>
        <main id="main" tabindex="-1" ref=${main}><${Banner} /><${Guarded} key=${where.key}>${shown}<//></main>
        ${isWide && html`<aside aria-label=${t("suggestions")}><${Suggestions} /></aside>`}
        <${Title} words=${title} />
    </div>`
}

// Leads to the box to write in.
function Write() {
    const write = () => {
        location.hash = "#/"
        setTimeout(() => document.getElementById("composer")?.focus())
    }
    return html`<button type="button" class="button main write" onClick=${write}>
        <${Icon} name="pen" /><span>${t("write")}</span>
    </button>`
}

// The title of the page, with the number of posts that have arrived.
function Title({words}) {
    const {arrived} = useStore(timeline.store)
    useEffect(() => {
        document.title = `${arrived.length ? `(${arrived.length}) ` : ""}${t(words)} · Lenta`
    })
    return null
}

const late = new Store({isLate: false})
let becomesLate = null
live.subscribe(() => {
    if (!live.state.isConnected) {
        becomesLate ??= setTimeout(() => late.set({isLate: !document.hidden}), LATE_MS)
        return
    }
    clearTimeout(becomesLate)
    becomesLate = null
    late.set({isLate: false})
})

// One line about the connection, the worst first.
function Banner() {
    const {isOnline, isReached, isSlow} = useStore(network)
    const {isLate} = useStore(late)
    const words = !isOnline ? "offline" : !isReached ? "unreachable" : isSlow ? "slow" : isLate ? "not_live" : null
    return html`<div role="status" class="banner">${words && html`<p>${t(words)}</p>`}</div>`
}

await speak()
choices.set({language})
show()
session.subscribe(() => {
    if (!session.state.token && timeline) location.reload() // nothing of the account stays in memory
})
render(html`<${App} />`, document.getElementById("app"))
