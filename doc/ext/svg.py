# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#      http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.

"""Write the parts of a drawing as SVG.

It has the colour of the text around it, as the page may be light or dark, and
is scrolled where the page is too narrow for it.
"""
import typing as ty
from xml.sax import saxutils

INK = 'currentColor'
# The theme has the colours of both modes; see doc/source/conf.py.
NO, YES = 'var(--drawing-no)', 'var(--drawing-yes)'
_ARROWS = {INK: 'arrow', NO: 'arrow-no'}


def text(x: float, y: float, words: str, size: int = 13, color: str = INK,
         weight: str = 'normal', mono: bool = False,
         anchor: str = 'start') -> str:
    """Return words; x is where they start, or what anchor says."""
    return ('<text x="%d" y="%d" font-size="%d" fill="%s" font-weight="%s" '
            'font-family="%s" text-anchor="%s">%s</text>' % (
                x, y, size, color, weight,
                'monospace' if mono else 'sans-serif', anchor,
                saxutils.escape(words)))


def line(x1: float, y1: float, x2: float, y2: float, color: str = INK,
         arrow: bool = False) -> str:
    """Return a line, from one point to another."""
    return '<path d="M%d %dL%d %d" stroke="%s" fill="none"%s/>' % (
        x1, y1, x2, y2, color,
        ' marker-end="url(#%s)"' % _ARROWS[color] if arrow else '')


def box(x: float, y: float, width: float, height: float, color: str = INK,
        strength: float = 0.06, dashed: bool = False) -> str:
    """Return a box, filled with its colour, of which strength is a share."""
    return ('<rect x="%d" y="%d" width="%d" height="%d" rx="5" fill="%s" '
            'fill-opacity="%.2f" stroke="%s"%s/>' % (
                x, y, width, height, color, strength, color,
                ' stroke-dasharray="4 3"' if dashed else ''))


def drawing(width: int, height: int, title: str, parts: ty.Iterable[str],
            least: int = 640) -> str:
    """Return a whole drawing, as HTML.

    :param width, height: in its own units
    :param title: what it shows, in words
    :param parts: what the functions above return
    :param least: pixels of width below which it is scrolled
    """
    markers = ''.join(
        '<marker id="%s" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" '
        'markerHeight="8" orient="auto"><path d="M0 0L8 4L0 8z" fill="%s"/>'
        '</marker>' % (name, color) for color, name in _ARROWS.items())
    return (
        '<div style="overflow-x:auto;margin:1em 0">'
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" '
        'role="img" style="width:100%%;min-width:%dpx;max-width:%dpx;'
        'height:auto"><title>%s</title><defs>%s</defs>%s</svg></div>' % (
            width, height, least, width, saxutils.escape(title), markers,
            ''.join(parts)))
