"""The pages that people see who follow a link: plain HTML that any browser and screen reader shows, without scripts."""

from __future__ import annotations

from html import escape

from fastapi import Response

from engage.events.catalogue.surveys import SCALES, SurveyKind

_STYLE = """body{font:1.1rem/1.5 sans-serif;max-width:34rem;margin:3rem auto;padding:0 1rem;color:#222;background:#fff}
button{font:inherit;padding:.6rem 1.2rem;margin:1rem .5rem 0 0}fieldset{border:0;padding:0;margin:1rem 0}
label{display:inline-block;padding:.4rem .6rem}textarea{font:inherit;width:100%;box-sizing:border-box}"""
_HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'",
    "x-robots-tag": "noindex, nofollow",
}
_QUESTIONS: dict[SurveyKind, tuple[str, str]] = {
    "nps": ("How likely is it that you would recommend us?", "0 is not at all, 10 is very likely."),
    "csat": ("How satisfied are you?", "1 is not at all, 5 is very satisfied."),
}
MAX_COMMENT = 2_000


def told(title: str, words: str, status: int = 200) -> Response:
    """A page that says something."""
    return _page(title, f"<p>{escape(words)}</p>", status)


def confirm(title: str, words: str, button: str) -> Response:
    """A page with one button; nothing happens before it is pressed, whoever loads the page."""
    form = f'<form method="post"><button type="submit">{escape(button)}</button></form>'
    return _page(title, f"<p>{escape(words)}</p>{form}", 200)


def survey(kind: SurveyKind, chosen: int | None, problem: str | None = None) -> Response:
    """The question, with ``chosen`` marked; ``problem`` says what was wrong with an answer."""
    question, scale = _QUESTIONS[kind]
    lowest, highest = SCALES[kind]
    said = f'<p role="alert"><strong>{escape(problem)}</strong></p>' if problem else ""
    choices = "".join(
        f'<label><input type="radio" name="score" value="{score}" required{" checked" * (score == chosen)}> {score}'
        "</label>"
        for score in range(lowest, highest + 1)
    )
    form = (
        f'{said}<form method="post"><fieldset><legend>{escape(scale)}</legend>{choices}</fieldset>'
        f'<label for="comment">Anything you want to add (you need not)</label>'
        f'<textarea id="comment" name="comment" rows="4" maxlength="{MAX_COMMENT}"></textarea>'
        '<button type="submit">Send</button>'
        '<button type="submit" name="decline" value="1" formnovalidate>I do not want to answer</button></form>'
    )
    return _page(question, form, 422 if problem else 200)


def _page(title: str, body: str, status: int) -> Response:
    text = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>"
        f"<body><main><h1>{escape(title)}</h1>{body}</main></body></html>"
    )
    return Response(text, status, dict(_HEADERS), "text/html; charset=utf-8")
