"""Case folding: names compare equal regardless of case, width and ligatures."""

from unicodedata import normalize

MAX_FOLDED_LENGTH = 100  # folding may lengthen a name 18 times, and an index entry has at most 2,704 bytes

# Distinct letters in Turkic languages only; a search finds both.
_DOTTED_I, _DOTLESS_I = "i\u0307", "\u0131"


def fold(text: str) -> str:
    """Fold a text, so that differences in case disappear, in every alphabet.

    Independent of the locale: Unicode's compatibility caseless match (The Unicode Standard, 3.13.5, D146).
    """
    folded = normalize("NFKD", normalize("NFKD", text).casefold()).casefold()
    return normalize("NFKC", folded.replace(_DOTTED_I, "i").replace(_DOTLESS_I, "i"))[:MAX_FOLDED_LENGTH]
