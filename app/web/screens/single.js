// One post at an address that can be passed on.
import {useEffect, useState} from "../vendor/hooks.mjs"
import {call} from "../client/api.js"
import {applied, onChange} from "../client/changes.js"
import {html} from "../client/html.js"
import {t} from "../client/i18n.js"
import {Empty, Loading, Problem} from "../client/parts.js"
import {know} from "../client/people.js"
import {Post} from "../client/post.js"

export function Single({id}) {
    const [{post, error, isGone}, set] = useState({})
    const load = async () => {
        set({})
        try {
            const found = await call("GET", `post/get/${encodeURIComponent(id)}`)
            await know([found.author_user_id])
            set({post: found})
        } catch (error) {
            set({error})
        }
    }
    useEffect(() => {
        load()
        return onChange((name, data) => set(state => {
            if (!state.post) return state
            const [post] = applied([state.post], name, data)
            return post ? {post} : {isGone: true}
        }))
    }, [id])
    return html`
        <h1 tabindex="-1" class="unseen">${t("post")}</h1>
        ${error?.status === 404 || isGone
            ? html`<${Empty} title=${t("post_gone")} text=${t("post_gone_text")}><a class="button"
                href="#/">${t("to_feed")}</a><//>`
            : error ? html`<${Problem} error=${error} retry=${load} />`
            : post && !post.isHidden ? html`<${Post} post=${post} isOpen />` : html`<${Loading} rows=${1} />`}`
}
