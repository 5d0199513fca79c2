r"""A document as LaTeX (booktabs): a whole report, and each table alone for `\input`.

Nothing in a text can be a command: every special character is escaped. Characters that pdfLaTeX's
fonts don't have pass through `\ftharnesschar`, which XeLaTeX and LuaLaTeX set as they are and
pdfLaTeX by their number.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from ft_harness.report.document import (
    Block,
    Bullets,
    Document,
    Figure,
    Heading,
    Table,
    Verbatim,
    one_line,
    several_lines,
    text_of,
)

_CHARACTER = r"""\makeatletter
\@ifundefined{ftharnesschar}{%
  \@ifundefined{Umathchar}{\DeclareRobustCommand{\ftharnesschar}[2]{{[U+#1]}}}%
    {\DeclareRobustCommand{\ftharnesschar}[2]{#2}}%
}{}
\makeatother
"""
_PREAMBLE = r"""\documentclass[10pt]{article}
\usepackage[a4paper,landscape,margin=15mm]{geometry}
\usepackage{iftex}
\ifPDFTeX\usepackage[T1]{fontenc}\usepackage[utf8]{inputenc}\else\usepackage{fontspec}\fi
\usepackage{textcomp}
\usepackage{array,booktabs,longtable,graphicx}
\setlength{\parindent}{0pt}\setlength{\parskip}{4pt}\setlength{\tabcolsep}{4pt}
\setcounter{secnumdepth}{0}\sloppy
"""
_SPELT = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "'": r"\textquotesingle{}",
    "`": r"\textasciigrave{}",
    "-": r"{-}",
    "[": r"{[}",
    "]": r"{]}",
    ",": r"{,}",
    "?": r"{?}",
    "!": r"{!}",
    "…": r"\ldots{}",
    "–": r"\textendash{}",
    "—": r"\textemdash{}",
    "\u00a0": "~",
}
_BREAK = r"\allowbreak{}"
_LONG_WORD = re.compile(r"\S{24,}")
_SECTIONS = {2: "section", 3: "subsection", 4: "subsubsection", 5: "paragraph"}
_WIDE = 150  # characters of a landscape line in footnote size
_NARROW = 24  # longest text of a column that is never broken


def latex_page(document: Document, figures: Mapping[str, str]) -> str:
    """The part of the report that a write-up prints, as a complete file; `figures` gives files that
    LaTeX can include, by key, or not at all."""
    parts = [
        _PREAMBLE + _CHARACTER + r"\begin{document}",
        rf"\section*{{\LARGE {escape(document.title)}}}",
        *(_render(block, figures) for block in document.paper),
        r"\end{document}",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def latex_table(table: Table) -> str:
    r"""One table as LaTeX, for `\input` in a document that loads array and booktabs: a tabular,
    without float and caption."""
    head = f"% {table.name}: needs \\usepackage{{array,booktabs}}"
    return f"{head}\n{_CHARACTER}{_tabular(table, 'tabular')}\n"


def escape(text: str) -> str:
    """Text as LaTeX on one line, in which nothing is a command; long words may break."""
    return _spell(one_line(text))


def _spell(text: str) -> str:
    parts = [
        re.findall(r".{1,12}", part) if _LONG_WORD.fullmatch(part) else [part]
        for part in re.split(r"(\S+)", text)
    ]
    return "".join(_BREAK.join(map(_spell_all, pieces)) for pieces in parts)


def _spell_all(text: str) -> str:
    return "".join(_SPELT.get(character) or _spell_other(character) for character in text)


def _spell_other(character: str) -> str:
    if " " <= character <= "~" or ("\u00c0" <= character <= "\u00ff" and character not in "×÷"):
        return character
    return rf"\ftharnesschar{{{ord(character):04X}}}{{{character}}}"


def _render(block: Block, figures: Mapping[str, str]) -> str:
    match block:
        case Heading(level=level, text=text):
            return rf"\{_SECTIONS[level]}*{{{escape(text)}}}"
        case Bullets(items=items):
            lines = "\n".join(rf"\item {{}}{escape(item)}" for item in items)
            return f"\\begin{{itemize}}\n{lines}\n\\end{{itemize}}"
        case Verbatim(text=text, limit=limit):
            lines = "\\\\\n".join(
                rf"\mbox{{}}{_spell(line)}" for line in several_lines(text, limit).split("\n")
            )
            return f"\\begin{{quote}}\\small\\ttfamily\n{lines}\n\\end{{quote}}"
        case Figure(key=key, caption=caption):
            if key not in figures:
                return ""
            image = rf"\includegraphics[width=0.6\linewidth]{{{figures[key]}}}"
            return f"\\begin{{center}}\n{image}\\\\\n\\small {escape(caption)}\n\\end{{center}}"
        case Table():
            return f"{{\\footnotesize\n{_tabular(block, 'longtable')}\n}}"
        case _:
            return escape(block.text)


def _tabular(table: Table, environment: str) -> str:
    header = " & ".join(rf"{{{escape(name)}}}" for name in table.header)
    rows = [[text_of(cell) for cell in row] for row in table.rows]
    lines = [" & ".join(rf"{{{escape(cell)}}}" for cell in row) + r" \\" for row in rows]
    head = f"\\toprule\n{header} \\\\\n\\midrule"
    ends = "\n\\endhead\n\\bottomrule\n\\endlastfoot" if environment == "longtable" else ""
    last = "" if environment == "longtable" else "\n\\bottomrule"
    body = "\n".join(lines)
    columns = _columns(table.header, rows, table.kinds)
    left = "[l]" if environment == "longtable" else ""
    begin = f"\\begin{{{environment}}}{left}{{@{{}}{columns}@{{}}}}"
    return f"{begin}\n{head}{ends}\n{body}{last}\n\\end{{{environment}}}"


def _columns(header: Sequence[str], rows: Sequence[Sequence[str]], kinds: str) -> str:
    """`l` and `r`; where the line would be too long, texts share what the numbers leave."""
    widths = [
        max(len(one_line(cell)) for cell in column) for column in zip(header, *rows, strict=True)
    ]
    if sum(widths) + 2 * len(widths) <= _WIDE:
        return "".join("l" if kind == "t" else "r" for kind in kinds)
    broken = [kind == "t" and width > _NARROW for kind, width in zip(kinds, widths, strict=True)]
    fixed = sum(width + 2 for width, wraps in zip(widths, broken, strict=True) if not wraps)
    room = max(0.3, 0.95 - fixed / _WIDE)
    weights = [min(width, 100) if wraps else 0 for width, wraps in zip(widths, broken, strict=True)]
    return "".join(
        rf">{{\raggedright\arraybackslash}}p{{{room * weight / sum(weights):.3f}\linewidth}}"
        if weight
        else "l"
        if kind == "t"
        else "r"
        for kind, weight in zip(kinds, weights, strict=True)
    )
