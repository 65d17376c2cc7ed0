"""Flask commands for accounts: what an operator does to a user or a post."""

import json
from secrets import token_urlsafe

import click
from flask import Flask

from app.feed.maintenance import show_user
from app.feed.maintenance.commands import Id, ServiceCommand
from app.posts import service as posts
from app.users import accounts
from app.users.schemas import MAX_PASSWORD_LENGTH, MIN_PASSWORD_LENGTH

user_argument = click.argument("user_id", metavar="USER_ID", type=Id)
json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")


def init_app(app: Flask) -> None:
    app.cli.add_command(set_password)
    app.cli.add_command(delete_user)
    app.cli.add_command(suspend_user)
    app.cli.add_command(restore_user)
    app.cli.add_command(show)
    app.cli.add_command(delete_post)


@click.command("set-password", cls=ServiceCommand)
@user_argument
@click.option("--generate", is_flag=True, help="Make a password and print it, instead of asking for one.")
@json_option
def set_password(user_id: int, generate: bool, as_json: bool) -> None:
    """Set a user's password, and refuse all their tokens.

    Tell a generated password to its owner over a safe channel, and ask them to change it (PUT /user/password).
    """
    password = (
        token_urlsafe(15) if generate else click.prompt("New password", hide_input=True, confirmation_prompt=True)
    )
    if not MIN_PASSWORD_LENGTH <= len(password) <= MAX_PASSWORD_LENGTH:
        raise click.ClickException(f"a password has {MIN_PASSWORD_LENGTH} to {MAX_PASSWORD_LENGTH} characters")
    accounts.set_password(user_id, password)
    shown = {"password": password} if generate else {}
    said = (
        f"User {user_id} has a new password{': ' + password if generate else ''}. All tokens from before are refused."
    )
    _say(as_json, said, user_id=str(user_id), **shown)


@click.command("delete-user", cls=ServiceCommand)
@user_argument
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def delete_user(user_id: int, yes: bool, as_json: bool) -> None:
    """Delete an account, and all that its user wrote.

    Run it again if the broker lost its messages before the posts and follows were gone.
    """
    if not yes:
        click.confirm(f"Delete user {user_id} for ever?", abort=True)
    was_there = accounts.delete_for_operator(user_id)
    said = "is deleted" if was_there else "was deleted before; the rest is taken once more"
    text = f"User {user_id} {said}. Tokens are refused; workers take the posts and follows now."
    _say(as_json, text, user_id=str(user_id), was_there=was_there)


@click.command("suspend-user", cls=ServiceCommand)
@user_argument
@json_option
def suspend_user(user_id: int, as_json: bool) -> None:
    """Keep a user out, and their posts out of all feeds, until restore-user.

    The profile, follows and counts stay. Run it again if the broker lost its messages.
    """
    is_new = accounts.suspend(user_id)
    said = "is suspended" if is_new else "was suspended before; its posts are taken out once more"
    text = f"User {user_id} {said}. Tokens and log-ins are refused; workers take the posts out of all feeds now."
    _say(as_json, text, user_id=str(user_id), was_suspended=not is_new)


@click.command("restore-user", cls=ServiceCommand)
@user_argument
@json_option
def restore_user(user_id: int, as_json: bool) -> None:
    """End the suspension of a user. The posts come back to all feeds.

    Run it again if the broker lost its messages.
    """
    was_suspended = accounts.restore(user_id)
    said = "is restored" if was_suspended else "was not suspended; its posts are brought back once more"
    text = f"User {user_id} {said}. They log in as before; workers bring the posts back to all feeds now."
    _say(as_json, text, user_id=str(user_id), was_suspended=was_suspended)


@click.command("show-user", cls=ServiceCommand)
@user_argument
@json_option
def show(user_id: int, as_json: bool) -> None:
    """Show a user's profile, suspension, counts, tokens and feed, or that the account was deleted."""
    described = show_user.describe(user_id)
    _say(as_json, "\n".join(show_user.lines(described)), **described)


@click.command("delete-post", cls=ServiceCommand)
@click.argument("post_id", metavar="POST_ID", type=Id)
@json_option
def delete_post(post_id: int, as_json: bool) -> None:
    """Delete a post of any user, for ever."""
    author_id = posts.delete_for_operator(post_id)
    text = f"Post {post_id} of user {author_id} is deleted; workers take it out of all feeds now."
    _say(as_json, text, post_id=str(post_id), author_id=str(author_id))


def _say(as_json: bool, text: str, **result: object) -> None:
    click.echo(json.dumps(result) if as_json else text)
