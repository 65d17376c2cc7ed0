// A person: profile, counts and posts; follow and block.
import {useLayoutEffect, useRef, useState} from "../vendor/hooks.mjs"
import {block, unblock} from "../client/actions.js"
import {html} from "../client/html.js"
import {day, short, t} from "../client/i18n.js"
import {useList} from "../client/lists.js"
import {Avatar, Button, Confirm, Empty, Loading, More, Problem, Text} from "../client/parts.js"
import {nameOf, useProfile} from "../client/people.js"
import {Posts} from "../client/post.js"
import {session} from "../client/session.js"
import {FollowButton} from "../client/suggestions.js"

export function Person({id, entry}) {
    const {user, error, load} = useProfile(id)
    const isAtHeading = document.activeElement?.matches("main h1")
    if (error?.status === 404)
        return html`<h1 tabindex="-1" class="unseen">${t("profile")}</h1>
            <${Empty} title=${t("person_gone")} text=${t("person_gone_text")}><a class="button"
                href="#/">${t("to_feed")}</a><//>`
    if (!user)
        return html`<h1 tabindex="-1" class="unseen">${t("profile")}</h1>
            ${error ? html`<${Problem} error=${error} retry=${load} />` : html`<${Loading} />`}`
    return html`<${Head} user=${user} isAtHeading=${isAtHeading} /><${Written} user=${user} entry=${entry} />`
}

// `isAtHeading`: the focus was at the heading while this was loading.
function Head({user, isAtHeading}) {
    const isMe = user.id === session.state.userId
    const heading = useRef()
    useLayoutEffect(() => void (isAtHeading && heading.current.focus({preventScroll: true})), [])
    const facts = [user.city, user.birthdate && t("born", {day: day(`${user.birthdate}T12:00`)})].filter(Boolean)
    return html`<section class="profile">
        <div class="profile-top">
            <${Avatar} user=${user} id=${user.id} size="large" />
            <div class="buttons">${isMe
                ? html`<a class="button" href="#/settings">${t("edit_profile")}</a>`
                : html`<${Relation} user=${user} />`}</div>
        </div>
        <h1 tabindex="-1" ref=${heading}>${nameOf(user)}</h1>
        <p class="quiet">
            ${user.username ? `@${user.username} ` : ""}
            ${user.follows_you && !isMe && html`<span class="tag">${t("follows_you")}</span>`}
        </p>
        ${user.biography && html`<p class="text" dir="auto"><${Text} text=${user.biography} /></p>`}
        <p class="quiet">${facts.join(" · ")}</p>
        <p class="counts">
            <span><b>${short(user.posts)}</b> ${t("posts_n", {n: user.posts})}</span>
            ${["followers", "following"].map(kind => html`<a key=${kind} href="#/person/${user.id}/${kind}">
                <b>${short(user[kind])}</b> ${t(`${kind}_word`, {n: user[kind]})}
            </a>`)}
        </p>
    </section>`
}

function Relation({user}) {
    const [isAsked, setAsked] = useState(false)
    const name = nameOf(user)
    if (user.is_blocked) return html`<${Button} onClick=${() => unblock(user.id)}>${t("unblock")}<//>`
    return html`<${Button} kind="plain" onClick=${() => setAsked(true)}>${t("block")}<//>
        <${FollowButton} user=${user} />
        ${isAsked && html`<${Confirm} title=${t("block_question", {name})} text=${t("block_text")} action=${t("block")}
            onClose=${() => setAsked(false)} onConfirm=${() => block(user.id)} />`}`
}

function Written({user, entry}) {
    const {items, isLoaded, ...list} = useList(`post/list/${user.id}?limit=30`, entry)
    const isMe = user.id === session.state.userId
    const shown = items.filter(post => !post.isHidden)
    return html`<${Posts} posts=${shown} label=${t("posts")} isLoading=${list.isLoading} />
        ${isLoaded && !shown.length && !list.next
            ? html`<${Empty} title=${t("no_posts")} text=${t(isMe ? "no_posts_me" : "no_posts_text")} />`
            : html`<${More} ...${list} />`}`
}
