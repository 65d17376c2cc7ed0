// The feed: posts of the people one follows, and one's own.
import {useEffect, useRef} from "../vendor/hooks.mjs"
import {html} from "../client/html.js"
import {isNewer} from "../client/ids.js"
import {t} from "../client/i18n.js"
import {Empty, Icon, Loading, More, Problem} from "../client/parts.js"
import {Composer, Posts} from "../client/post.js"
import {Suggestions} from "../client/suggestions.js"
import {useStore} from "../client/store.js"

const READ_MS = 1500 // how long a post is on the screen until it counts as read

export function Feed({timeline}) {
    const {shown, arrived, seen, floor, next, error, isLoading} = useStore(timeline.store)
    const posts = timeline.posts().filter(post => !post.isHidden)
    const isEmpty = floor !== null && !next && shown.length + arrived.length === 0
    const wasEmpty = useRef(false) // then people to follow stay below the newest post, also when the first is followed
    wasEmpty.current ||= isEmpty
    const firstRead = firstReadOf(shown, posts, seen)
    useEffect(() => {
        const timer = setTimeout(() => document.hidden || timeline.markSeen(), READ_MS)
        const onVisible = () => document.hidden || setTimeout(() => timeline.markSeen(), READ_MS)
        document.addEventListener("visibilitychange", onVisible)
        return () => {
            clearTimeout(timer)
            document.removeEventListener("visibilitychange", onVisible)
        }
    }, [shown[0]?.id])
    const reveal = () => {
        timeline.reveal()
        scrollTo({top: 0})
        document.querySelector('[role="feed"]').focus({preventScroll: true})
    }
    return html`
        <h1 tabindex="-1" class="unseen">${t("feed")}</h1>
        <${Composer} />
        <div role="status" class="arrived">
            ${arrived.length > 0 && html`<button type="button" class="pill" onClick=${reveal}>
                <${Icon} name="up" />${t("new_posts", {n: arrived.length})}
            </button>`}
        </div>
        ${isEmpty && html`<${Empty} title=${t("feed_empty")} text=${t("feed_empty_text")} />`}
        ${wasEmpty.current && html`<${Posts} posts=${posts.splice(0, 1)} label=${t("newest")} /><${Suggestions} />`}
        <${Posts} posts=${posts} label=${t("feed")} isLoading=${isLoading} before=${post =>
            post.id === firstRead && html`<p class="read-mark" key="read"><span>${t("read_to_here")}</span></p>`} />
        ${floor === null
            ? error ? html`<${Problem} error=${error} retry=${() => timeline.load()} />` : html`<${Loading} />`
            : html`<${More} next=${next} isLoading=${isLoading && Boolean(next)} error=${error}
                more=${() => timeline.more()} />
                ${!next && !isEmpty && html`<p class="end quiet">${t("feed_end")}</p>`}`}`
}

// The id of the first post that was read before, if posts of others stand above it.
function firstReadOf(shown, posts, seen) {
    if (!seen || !shown.length || !isNewer(shown[0].id, seen)) return null
    return posts.find(post => !isNewer(post.id, seen))?.id
}
