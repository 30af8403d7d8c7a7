"""Make ``derive/show/math.woff2``: the part of a mathematical font that documents embed.

    apt-get install fonts-texgyre-math && pip install fonttools brotli
    python docs/math_font.py

The glyphs are those that formulas of :mod:`derive.show.formulas.mathml` are made of, with what the MATH table needs beside
them: larger sizes and pieces of sums, brackets and roots, variants for scripts.  The subset has a name of its own, as the
font's licence asks of changed files.
"""

from __future__ import annotations

import string
from pathlib import Path

from fontTools import subset
from fontTools.ttLib import TTFont

SOURCE = Path("/usr/share/texmf/fonts/opentype/public/tex-gyre-math/texgyrepagella-math.otf")
TARGET = Path(__file__).parents[1] / "derive" / "show" / "math.woff2"
NAME = "Derive Math"
MOST = 100_000  # bytes

LATIN = string.ascii_letters + string.digits
ITALIC = [*range(0x1D434, 0x1D468), 0x210E]  # what a browser makes of <mi>x</mi>
GREEK = [*range(0x391, 0x3AA), *range(0x3B1, 0x3CA), 0x3D1, 0x3D5, 0x3F5]
GREEK_ITALIC = range(0x1D6E2, 0x1D71C)
BOLD = range(0x1D7CE, 0x1D7D8)
PUNCTUATION = " !\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~\u00a0·×÷±¬–—…′″‴‵"
SIGNS = "−∂∇∞∑∏∫√∈∉⊂⊆∪∩∧∨∀∃∅≠≤≥≪≫≈≡∼≃≅∝→←↔⇒⇐⇔↦⊙⊗⊕⊤⊥∘∗⋅⋯⋮⋱‖∣∥⌊⌋⌈⌉⟨⟩ℓℝℕℤ†‡°"
ACCENTS = [0x302, 0x303, 0x304, 0x305, 0x307, 0x308, 0x20D7, 0x2C6, 0x2DC, 0xAF, 0xA8, 0x2D9, 0x203E]


def wanted() -> set[int]:
    """The characters of the subset."""
    text = LATIN + PUNCTUATION + SIGNS
    return {ord(c) for c in text} | {*ITALIC, *GREEK, *GREEK_ITALIC, *BOLD, *ACCENTS}


def rename(font: TTFont) -> None:
    """Give the subset its own family name and keep who made the original."""
    keep = {0: "Subset of " + str(font["name"].getDebugName(4)) + ". " + str(font["name"].getDebugName(0))}
    keep |= {1: NAME, 2: "Regular", 3: NAME, 4: NAME, 6: NAME.replace(" ", ""), 13: str(font["name"].getDebugName(13))}
    font["name"].names = []
    for code, text in keep.items():
        font["name"].setName(text, code, 3, 1, 0x409)


def main() -> None:
    options = subset.Options()
    options.flavor, options.layout_features = "woff2", ["ssty", "kern", "dtls", "flac"]
    options.name_IDs, options.notdef_outline, options.hinting, options.desubroutinize = ["*"], True, False, False
    font = subset.load_font(str(SOURCE), options)
    maker = subset.Subsetter(options)
    maker.populate(unicodes=wanted())
    maker.subset(font)
    rename(font)
    subset.save_font(font, str(TARGET), options)
    size = TARGET.stat().st_size
    print(f"{TARGET.name}: {size:,} bytes, {len(font.getGlyphOrder())} glyphs")
    if size >= MOST:
        raise SystemExit(f"{size} bytes are too many; take characters out")


if __name__ == "__main__":
    main()
