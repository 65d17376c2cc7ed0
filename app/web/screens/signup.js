// Sign up, and be logged in.
import {useState} from "../vendor/hooks.mjs"
import {call} from "../client/api.js"
import {useDraft} from "../client/drafts.js"
import {fieldError} from "../client/errors.js"
import {html} from "../client/html.js"
import {t} from "../client/i18n.js"
import {Button, Field, FormError, USERNAME, useSubmit} from "../client/parts.js"
import {go} from "../client/router.js"
import {Door, logIn} from "./welcome.js"

const EMPTY = {first_name: "", second_name: "", username: "", birthdate: ""}

export function SignUp() {
    const [person, keep] = useDraft("signup", EMPTY)
    const [password, setPassword] = useState("")
    const form = useSubmit(async () => {
        const username = person.username.trim().replace(/^@/, "")
        await call("POST", "user/register", {...person, username, password})
        go("#/")
        await logIn(username, password)
        keep(null)
    })
    const field = (name, more) => html`<${Field} words=${name} name=${name} value=${person[name]} required
        error=${fieldError(form.error, name)}
        onInput=${value => keep({...person, [name]: value})} ...${more} />`
    return html`<${Door} title=${t("sign_up")}>
        <form class="form" onSubmit=${form.submit}>
            <div class="pair">
                ${field("first_name", {autocomplete: "given-name", maxlength: 100})}
                ${field("second_name", {autocomplete: "family-name", maxlength: 100})}
            </div>
            ${field("username", {...USERNAME, hint: t("username_hint")})}
            ${field("birthdate", {type: "date", autocomplete: "bday", min: "1900-01-01", max: today()})}
            <${Field} words="password" name="password" type="password" value=${password} onInput=${setPassword}
                required minlength="8" maxlength="128"
                autocomplete="new-password" hint=${t("password_hint")} error=${fieldError(form.error, "password")} />
            <${FormError} ...${form} />
            <${Button} type="submit" kind="main wide" isBusy=${form.isBusy}
                disabled=${form.wait > 0}>${t("sign_up")}<//>
        </form>
        <p class="quiet">${t("has_account")} <a href="#/">${t("log_in")}</a></p>
    <//>`
}

function today() {
    return new Date().toISOString().slice(0, 10)
}
